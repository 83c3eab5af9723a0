import type { IncomingHttpHeaders } from 'node:http';
import type { ByteRange } from '../contract/artifact.js';
import type { ResponseHeaders } from '../contract/exchange.js';
import { contentHeaders, notModifiedHeaders, type Representation } from './headers.js';
import { evaluatePreconditions, ifRangeHolds } from './preconditions.js';
import { parseRange } from './range.js';

export type { Representation } from './headers.js';

/** Response with a body. */
export interface PlannedBody {
  readonly kind: 'send';
  readonly status: 200 | 206;
  readonly headers: ResponseHeaders;
  /** Bytes to send; `undefined` for a stream of unknown length, which is sent completely. */
  readonly range: ByteRange | undefined;
}

/** Response to a GET or HEAD, decided before anything is opened. */
export type Plan =
  | PlannedBody
  /** Response without a body: a 304, or the response to a HEAD. */
  | { readonly kind: 'done'; readonly status: 200 | 304; readonly headers: ResponseHeaders }
  /** Error response. The handler adds its body and the headers of the body. */
  | { readonly kind: 'error'; readonly status: 412 | 416; readonly headers: ResponseHeaders };

/**
 * Returns the response to a GET or HEAD of an existing representation. Evaluates the preconditions first, then Range
 * (RFC 9110, sections 13.2.2 and 14.2). Never throws, even if request headers are malformed.
 *
 * @param isTrusted whether a browser may treat the artifact as trusted content of the application
 * @param defaultCacheControl Cache-Control of an artifact that has none
 */
export function plan(
  method: 'GET' | 'HEAD',
  request: IncomingHttpHeaders,
  representation: Representation,
  isTrusted = false,
  defaultCacheControl?: string,
): Plan {
  const outcome = evaluatePreconditions(method, request, representation);
  if (outcome === 304)
    return { kind: 'done', status: 304, headers: notModifiedHeaders(representation, isTrusted, defaultCacheControl) };
  if (outcome === 412) return { kind: 'error', status: 412, headers: {} };

  const { size } = representation;
  // Range is defined for GET only (RFC 9110, section 14.2).
  if (method === 'HEAD')
    return { kind: 'done', status: 200, headers: contentHeaders(representation, size, isTrusted, defaultCacheControl) };
  if (size === undefined) {
    return {
      kind: 'send',
      status: 200,
      headers: contentHeaders(representation, undefined, isTrusted, defaultCacheControl),
      range: undefined,
    };
  }
  const range = request.range === undefined ? undefined : requestedRange(request.range, request, representation, size);
  if (range === 'unsatisfiable') {
    return { kind: 'error', status: 416, headers: { 'content-range': `bytes */${size}` } };
  }
  if (range === undefined) {
    return {
      kind: 'send',
      status: 200,
      headers: contentHeaders(representation, size, isTrusted, defaultCacheControl),
      range: { start: 0, end: size },
    };
  }
  const headers = contentHeaders(representation, range.end - range.start, isTrusted, defaultCacheControl);
  headers['content-range'] = `bytes ${range.start}-${range.end - 1}/${size}`;
  return { kind: 'send', status: 206, headers, range };
}

function requestedRange(
  header: string,
  request: IncomingHttpHeaders,
  representation: Representation,
  size: number,
): ByteRange | 'unsatisfiable' | undefined {
  const ifRange = request['if-range'];
  if (ifRange === undefined) return parseRange(header, size);
  // An If-Range header with several values never matches.
  const holds = typeof ifRange === 'string' && ifRangeHolds(ifRange, representation);
  return holds ? parseRange(header, size) : undefined;
}
