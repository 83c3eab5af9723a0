import type { IncomingHttpHeaders } from 'node:http';
import type { UploadMetadata } from '../../contract/artifact.js';
import { directsBrowser } from '../../http/browser-headers.js';

/**
 * Headers that are not metadata of an artifact, in addition to those by which a response directs a browser. They are
 * neither sent with an upload nor taken from a response, because they describe the message, the connection or the server.
 */
const EXCLUDED_HEADERS = new Set([
  // Headers that have a field of their own in the metadata.
  ...['cache-control', 'content-encoding', 'content-type', 'etag', 'last-modified'],
  // Headers of the framing and the connection (RFC 9110, 7.6.1; RFC 9113, 8.2.2).
  ...[
    'connection',
    'content-length',
    'content-range',
    'accept-ranges',
    'http2-settings',
    'keep-alive',
    'te',
    'trailer',
  ],
  ...['transfer-encoding', 'upgrade', 'proxy-connection', 'expect', 'host', 'max-forwards', 'priority'],
  // Credentials and state.
  ...['authorization', 'authentication-info', 'cookie', 'proxy-authenticate', 'proxy-authentication-info'],
  ...['proxy-authorization', 'www-authenticate'],
  // Caching, routing and the server.
  ...['age', 'cache-status', 'cdn-cache-control', 'cdn-loop', 'date', 'expires', 'forwarded', 'pragma'],
  ...['proxy-status', 'retry-after', 'server', 'server-timing', 'vary', 'via', 'warning', 'x-cache', 'x-cache-hits'],
  ...['x-powered-by', 'x-request-id', 'x-runtime', 'x-served-by', 'x-timer', 'cf-ray', 'cf-cache-status'],
  // Negotiation, preconditions and digests of one message.
  ...['accept', 'accept-charset', 'accept-encoding', 'accept-language', 'from', 'if-match', 'if-modified-since'],
  ...['if-none-match', 'if-range', 'if-unmodified-since', 'origin', 'range', 'referer', 'user-agent'],
  ...['content-digest', 'repr-digest', 'want-content-digest', 'want-repr-digest', 'digest', 'content-md5'],
]);
const EXCLUDED_PREFIXES = /^(?::|ratelimit|sec-|x-amz-|x-forwarded-|x-ratelimit-)/;

function isArtifactHeader(name: string): boolean {
  return !EXCLUDED_HEADERS.has(name) && !EXCLUDED_PREFIXES.test(name) && !directsBrowser(name);
}

/** Returns the request headers of an upload with this metadata. Names are in lower case. */
export function uploadHeadersOf(metadata: UploadMetadata | undefined): Record<string, string> {
  const { contentType, contentEncoding, cacheControl, headers = {} } = metadata ?? {};
  const others = Object.entries(headers).filter(([name]) => isArtifactHeader(name));
  return {
    ...Object.fromEntries(others),
    ...(contentType === undefined ? {} : { 'content-type': contentType }),
    ...(contentEncoding === undefined ? {} : { 'content-encoding': contentEncoding }),
    ...(cacheControl === undefined ? {} : { 'cache-control': cacheControl }),
  };
}

/** Returns the artifact's metadata in the headers of a response. */
export function metadataOf(headers: IncomingHttpHeaders): UploadMetadata {
  const others: [string, string][] = [];
  for (const [name, value] of Object.entries(headers)) {
    if (typeof value !== 'string' || !isArtifactHeader(name)) continue;
    // Another hotblob sends this with every artifact.
    if (name === 'content-disposition' && value === 'attachment') continue;
    others.push([name, value]);
  }
  return {
    contentType: headers['content-type'],
    contentEncoding: headers['content-encoding'],
    cacheControl: headers['cache-control'],
    ...(others.length === 0 ? {} : { headers: Object.fromEntries(others) }),
  };
}
