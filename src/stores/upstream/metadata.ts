import type { IncomingHttpHeaders } from 'node:http';
import type { UploadMetadata } from '../../contract/artifact.js';

/**
 * What is said about the message, the connection, the server, or how a browser is to treat it: nothing about the artifact,
 * and no upload may say it in another's name.
 */
const NOT_OF_THE_ARTIFACT = new Set([
  // These have parts of their own in what an artifact says about itself.
  ...['cache-control', 'content-encoding', 'content-type', 'etag', 'last-modified'],
  // Framing and the connection (RFC 9110, 7.6.1; RFC 9113, 8.2.2).
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
  ...['proxy-authorization', 'set-cookie', 'www-authenticate'],
  // How it came, from where, and until when a copy is good.
  ...['age', 'alt-svc', 'cache-status', 'cdn-cache-control', 'cdn-loop', 'date', 'expires', 'forwarded', 'pragma'],
  ...['proxy-status', 'retry-after', 'server', 'server-timing', 'vary', 'via', 'warning', 'x-cache', 'x-cache-hits'],
  ...['x-powered-by', 'x-request-id', 'x-runtime', 'x-served-by', 'x-timer', 'cf-ray', 'cf-cache-status'],
  // What the request asks for.
  ...['accept', 'accept-charset', 'accept-encoding', 'accept-language', 'from', 'if-match', 'if-modified-since'],
  ...['if-none-match', 'if-range', 'if-unmodified-since', 'origin', 'range', 'referer', 'user-agent'],
  ...[
    'content-digest',
    'repr-digest',
    'want-content-digest',
    'want-repr-digest',
    'digest',
    'content-md5',
    'link',
    'location',
  ],
  // Browsers.
  ...['clear-site-data', 'content-security-policy', 'content-security-policy-report-only', 'nel', 'permissions-policy'],
  ...['origin-agent-cluster', 'referrer-policy', 'report-to', 'reporting-endpoints', 'strict-transport-security'],
  ...['x-content-type-options', 'x-dns-prefetch-control', 'x-download-options', 'x-frame-options', 'x-xss-protection'],
  ...['x-permitted-cross-domain-policies', 'timing-allow-origin'],
]);
const FAMILIES = /^(?::|access-control-|cross-origin-|ratelimit|sec-|x-amz-|x-forwarded-|x-ratelimit-)/;

function isOfTheArtifact(name: string): boolean {
  return !NOT_OF_THE_ARTIFACT.has(name) && !FAMILIES.test(name);
}

/** The headers of a request that uploads what has this to say about itself. Names are in lower case. */
export function headersOf(metadata: UploadMetadata | undefined): Record<string, string> {
  const { contentType, contentEncoding, cacheControl, headers = {} } = metadata ?? {};
  const further = Object.entries(headers).filter(([name]) => isOfTheArtifact(name));
  return {
    ...Object.fromEntries(further),
    ...(contentType === undefined ? {} : { 'content-type': contentType }),
    ...(contentEncoding === undefined ? {} : { 'content-encoding': contentEncoding }),
    ...(cacheControl === undefined ? {} : { 'cache-control': cacheControl }),
  };
}

/** What the headers of an answer say about the artifact. */
export function metadataIn(headers: IncomingHttpHeaders): UploadMetadata {
  const further: [string, string][] = [];
  for (const [name, value] of Object.entries(headers)) {
    if (typeof value === 'string' && isOfTheArtifact(name)) further.push([name, value]);
  }
  return {
    contentType: headers['content-type'],
    contentEncoding: headers['content-encoding'],
    cacheControl: headers['cache-control'],
    ...(further.length === 0 ? {} : { headers: Object.fromEntries(further) }),
  };
}
