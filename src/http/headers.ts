import type { ArtifactMetadata } from '../contract/artifact.js';
import type { ResponseHeaders } from '../contract/exchange.js';
import { DEFAULT_CACHE_CONTROL } from '../contract/header-fields.js';
import { DEFAULT_TYPE, directsBrowser, inertType, SAME_ORIGIN, SANDBOX } from './browser-headers.js';
import type { HttpDate } from './http-date.js';

/** Size, validators and metadata of an artifact, from which the headers of a response are made. */
export interface Representation {
  /** Size in bytes; `undefined` for a stream of unknown length. */
  readonly size: number | undefined;
  /** Entity tag as it appears in the header, quotes included. Used instead of `metadata.etag`. */
  readonly etag: string | undefined;
  /** Date of the Last-Modified header. Used instead of `metadata.lastModified`. */
  readonly lastModified: HttpDate | undefined;
  readonly metadata: ArtifactMetadata;
}

/**
 * Returns the headers of a 200 or 206 response with a body of `length` bytes, or of unknown length. The caller adds the
 * Content-Range of a 206. The function runs for every download. It therefore creates only one object and adds its
 * properties always in the same order.
 *
 * @param isTrusted whether a browser may treat the artifact as trusted content of the application. If not, it downloads it and runs nothing of it
 * @param defaultCacheControl Cache-Control of an artifact that has none, with `no-transform`
 */
export function contentHeaders(
  representation: Representation,
  length: number | undefined,
  isTrusted = false,
  defaultCacheControl = DEFAULT_CACHE_CONTROL,
): ResponseHeaders {
  const { etag, lastModified, metadata } = representation;
  const { contentType = DEFAULT_TYPE } = metadata;
  const cacheControl = cacheControlOf(metadata, defaultCacheControl);
  const headers: ResponseHeaders = isTrusted
    ? { 'content-type': contentType, 'cache-control': cacheControl, 'x-content-type-options': 'nosniff' }
    : {
        'content-type': inertType(contentType),
        'cache-control': cacheControl,
        'x-content-type-options': 'nosniff',
        'content-security-policy': SANDBOX,
        'cross-origin-resource-policy': SAME_ORIGIN,
        'content-disposition': 'attachment',
      };
  if (length !== undefined) {
    headers['content-length'] = length;
    headers['accept-ranges'] = 'bytes';
  }
  if (etag !== undefined) headers['etag'] = etag;
  if (lastModified !== undefined) headers['last-modified'] = lastModified.text;
  if (metadata.contentEncoding !== undefined) headers['content-encoding'] = metadata.contentEncoding;
  if (metadata.headers === undefined) return headers;
  addMetadataHeaders(headers, metadata.headers, isTrusted ? isAllowedWithContent : isAllowedWithUntrustedContent);
  // The headers of the metadata can name the type, too.
  if (!isTrusted) headers['content-type'] = inertType(String(headers['content-type']));
  return headers;
}

/**
 * Returns the headers of a 304 response: those that a cache needs to update its stored response. The others would
 * describe a body that is not sent (RFC 9110, section 15.4.5).
 *
 * @param isTrusted as in {@link contentHeaders}
 * @param defaultCacheControl as in {@link contentHeaders}
 */
export function notModifiedHeaders(
  representation: Representation,
  isTrusted = false,
  defaultCacheControl = DEFAULT_CACHE_CONTROL,
): ResponseHeaders {
  const { etag, lastModified, metadata } = representation;
  const headers: ResponseHeaders = { 'cache-control': cacheControlOf(metadata, defaultCacheControl) };
  if (!isTrusted) {
    headers['x-content-type-options'] = 'nosniff';
    headers['content-security-policy'] = SANDBOX;
    headers['cross-origin-resource-policy'] = SAME_ORIGIN;
  }
  if (etag !== undefined) headers['etag'] = etag;
  if (lastModified !== undefined) headers['last-modified'] = lastModified.text;
  if (metadata.headers !== undefined) addMetadataHeaders(headers, metadata.headers, isAllowedInNotModified);
  return headers;
}

function addMetadataHeaders(
  headers: ResponseHeaders,
  metadataHeaders: Readonly<Record<string, string>>,
  isAllowed: (name: string) => boolean,
): void {
  for (const mixedCaseName in metadataHeaders) {
    const name = mixedCaseName.toLowerCase();
    const value = metadataHeaders[mixedCaseName];
    if (value === undefined || !isAllowed(name)) continue;
    if (name !== 'cache-control') headers[name] = value;
    else if (value !== '') headers[name] = withNoTransform(value);
  }
}

const RESERVED = new Set([
  // Headers that frame the body: a wrong value would corrupt the response.
  'accept-ranges',
  'content-length',
  'content-range',
  // Headers of the connection (RFC 9110, section 7.6.1). HTTP/2 rejects them (RFC 9113, section 8.2.2).
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
  // Validators: preconditions are evaluated with those of the representation, which other values would contradict.
  'etag',
  'last-modified',
]);

function isAllowedWithContent(name: string): boolean {
  // A name with a leading colon is a pseudo-header of HTTP/2, such as `:status`.
  return !RESERVED.has(name) && !name.startsWith(':');
}

function isAllowedWithUntrustedContent(name: string): boolean {
  return isAllowedWithContent(name) && !directsBrowser(name);
}

function isAllowedInNotModified(name: string): boolean {
  return name === 'cache-control' || name === 'content-location' || name === 'expires' || name === 'vary';
}

const NO_TRANSFORM = 'no-transform';

function cacheControlOf({ cacheControl }: ArtifactMetadata, defaultCacheControl: string): string {
  return cacheControl === undefined || cacheControl === '' ? defaultCacheControl : withNoTransform(cacheControl);
}

/** Adds `no-transform`, which forbids intermediaries to transform the body (RFC 9111, section 5.2.2.6). */
export function withNoTransform(cacheControl: string): string {
  let at = cacheControl.indexOf(NO_TRANSFORM);
  while (at !== -1) {
    const end = at + NO_TRANSFORM.length;
    if (isBetweenDirectives(cacheControl, at - 1) && isBetweenDirectives(cacheControl, end)) return cacheControl;
    at = cacheControl.indexOf(NO_TRANSFORM, end);
  }
  return `${cacheControl}, ${NO_TRANSFORM}`;
}

const SHARED_DIRECTIVE = /(?:^|,)[ \t]*(?:public|private|s-maxage=[^,]*)(?=[ \t]*(?:,|$))/gi;

/**
 * Forbids shared caches to store a response (RFC 9111, section 5.2.2.7): to the same request of another client, the response may be
 * another artifact.
 */
export function makePrivate(headers: ResponseHeaders): void {
  const { 'cache-control': value } = headers;
  if (value === undefined) return;
  const rest = String(value)
    .replace(SHARED_DIRECTIVE, '')
    .replace(/^[ \t,]+/, '');
  headers['cache-control'] = rest === '' ? 'private' : `private, ${rest}`;
}

function isBetweenDirectives(cacheControl: string, at: number): boolean {
  const character = cacheControl[at];
  return character === undefined || character === ',' || character === ' ' || character === '\t';
}
