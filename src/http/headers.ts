import type { ArtifactMetadata } from '../contract/artifact.js';
import type { ResponseHeaders } from '../contract/exchange.js';
import type { HttpDate } from './http-date.js';

/** An artifact as a response shows it, once it is known how long it is and what tells it from its other versions. */
export interface Representation {
  /** Bytes; undefined when nobody knows before the end. */
  readonly size: number | undefined;
  /** As it stands in the header, quotes included. Takes the place of `metadata.etag`. */
  readonly etag: string | undefined;
  /** Takes the place of `metadata.lastModified`. */
  readonly lastModified: HttpDate | undefined;
  readonly metadata: ArtifactMetadata;
}

/**
 * The headers of 200 and 206 with a body of `length` bytes; undefined when nobody knows how many. A 206 adds its
 * Content-Range. Runs for every download: it makes one object, filled in one order.
 */
export function contentHeaders(representation: Representation, length: number | undefined): ResponseHeaders {
  const { etag, lastModified, metadata } = representation;
  const headers: ResponseHeaders = {
    'content-type': metadata.contentType ?? 'application/octet-stream',
    'cache-control': withNoTransform(metadata.cacheControl),
    'x-content-type-options': 'nosniff',
  };
  if (length !== undefined) {
    headers['content-length'] = length;
    headers['accept-ranges'] = 'bytes';
  }
  if (etag !== undefined) headers['etag'] = etag;
  if (lastModified !== undefined) headers['last-modified'] = lastModified.text;
  if (metadata.contentEncoding !== undefined) headers['content-encoding'] = metadata.contentEncoding;
  if (metadata.headers !== undefined) addFurtherHeaders(headers, metadata.headers, mayStandOnContent);
  return headers;
}

/**
 * The headers of 304: what a cache needs to refresh what it keeps. The rest would describe a body that is not there
 * (RFC 9110, 15.4.5).
 */
export function notModifiedHeaders(representation: Representation): ResponseHeaders {
  const { etag, lastModified, metadata } = representation;
  const headers: ResponseHeaders = { 'cache-control': withNoTransform(metadata.cacheControl) };
  if (etag !== undefined) headers['etag'] = etag;
  if (lastModified !== undefined) headers['last-modified'] = lastModified.text;
  if (metadata.headers !== undefined) addFurtherHeaders(headers, metadata.headers, mayStandOnNotModified);
  return headers;
}

function addFurtherHeaders(
  headers: ResponseHeaders,
  further: Readonly<Record<string, string>>,
  mayStand: (name: string) => boolean,
): void {
  for (const mixedCaseName in further) {
    const name = mixedCaseName.toLowerCase();
    const value = further[mixedCaseName];
    if (value === undefined || !mayStand(name)) continue;
    headers[name] = name === 'cache-control' ? withNoTransform(value) : value;
  }
}

const RESERVED = new Set([
  // These frame the body, so that a wrong one corrupts it.
  'accept-ranges',
  'content-length',
  'content-range',
  // These belong to the connection (RFC 9110, 7.6.1), and HTTP/2 refuses them (RFC 9113, 8.2.2).
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  // Preconditions are evaluated with the representation's own; another value here would contradict them.
  'etag',
  'last-modified',
]);

function mayStandOnContent(name: string): boolean {
  // A colon in front makes a pseudo-header of HTTP/2, such as `:status`.
  return !RESERVED.has(name) && !name.startsWith(':');
}

function mayStandOnNotModified(name: string): boolean {
  return name === 'cache-control' || name === 'content-location' || name === 'expires' || name === 'vary';
}

const NO_TRANSFORM = 'no-transform';

/** Adds the directive that keeps intermediaries from changing opaque bodies (RFC 9111, 5.2.2.6). */
function withNoTransform(cacheControl: string | undefined): string {
  if (cacheControl === undefined || cacheControl === '') return NO_TRANSFORM;
  let at = cacheControl.indexOf(NO_TRANSFORM);
  while (at !== -1) {
    const end = at + NO_TRANSFORM.length;
    if (isBetweenDirectives(cacheControl, at - 1) && isBetweenDirectives(cacheControl, end)) return cacheControl;
    at = cacheControl.indexOf(NO_TRANSFORM, end);
  }
  return `${cacheControl}, ${NO_TRANSFORM}`;
}

function isBetweenDirectives(cacheControl: string, at: number): boolean {
  const character = cacheControl[at];
  return character === undefined || character === ',' || character === ' ' || character === '\t';
}
