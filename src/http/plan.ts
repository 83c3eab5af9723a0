import type { IncomingHttpHeaders } from 'node:http';
import type { ByteRange } from '../contract/artifact.js';
import type { ResponseHeaders } from '../contract/exchange.js';
import { contentHeaders, notModifiedHeaders, type Representation } from './headers.js';
import { evaluatePreconditions, ifRangeHolds } from './preconditions.js';
import { parseRange } from './range.js';

export type { Representation } from './headers.js';

/** A body to send. */
export interface PlannedBody {
  readonly kind: 'send';
  readonly status: 200 | 206;
  readonly headers: ResponseHeaders;
  /** The bytes of the body. Undefined: all of them, however many that will be. */
  readonly range: ByteRange | undefined;
}

/** What to answer, decided before anything is opened. */
export type Plan =
  | PlannedBody
  /** HEAD, or not modified: there is no body. */
  | { readonly kind: 'done'; readonly status: 200 | 304; readonly headers: ResponseHeaders }
  /** The handler adds its error body, and the headers for that. */
  | { readonly kind: 'error'; readonly status: 412 | 416; readonly headers: ResponseHeaders };

/**
 * Decides how to answer a GET or HEAD for a representation that exists: preconditions first, then Range
 * (RFC 9110, 13.2.2 and 14.2). Never throws, whatever the request holds.
 */
export function plan(method: 'GET' | 'HEAD', request: IncomingHttpHeaders, representation: Representation): Plan {
  const outcome = evaluatePreconditions(method, request, representation);
  if (outcome === 304) return { kind: 'done', status: 304, headers: notModifiedHeaders(representation) };
  if (outcome === 412) return { kind: 'error', status: 412, headers: {} };

  const { size } = representation;
  // A HEAD answers what GET would without Range (RFC 9110, 14.2).
  if (method === 'HEAD') return { kind: 'done', status: 200, headers: contentHeaders(representation, size) };
  if (size === undefined) {
    return { kind: 'send', status: 200, headers: contentHeaders(representation, undefined), range: undefined };
  }
  const range = request.range === undefined ? undefined : requestedRange(request.range, request, representation, size);
  if (range === 'unsatisfiable') {
    return { kind: 'error', status: 416, headers: { 'content-range': `bytes */${size}` } };
  }
  if (range === undefined) {
    return { kind: 'send', status: 200, headers: contentHeaders(representation, size), range: { start: 0, end: size } };
  }
  const headers = contentHeaders(representation, range.end - range.start);
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
  // Several values are no If-Range that could hold.
  const holds = typeof ifRange === 'string' && ifRangeHolds(ifRange, representation);
  return holds ? parseRange(header, size) : undefined;
}
