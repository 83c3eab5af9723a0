import type { OutgoingHttpHeader, OutgoingHttpHeaders } from 'node:http';
import type { ResponseHeaders } from '../contract/exchange.js';

const LISTS = new Set(['content-security-policy', 'server-timing', 'vary']);

/** Response on which the host may have set headers. */
export interface HostResponse {
  getHeaderNames(): string[];
  getHeader(name: string): OutgoingHttpHeader | undefined;
  removeHeader(name: string): void;
}

/** Status and headers of a response before an attempt to send it. */
export interface HostHead {
  readonly statusCode: number;
  readonly headers: OutgoingHttpHeaders;
}

/** Restores status and headers after an attempt to send headers that Node has rejected, so that the host can respond. */
export function restoreHead(
  response: HostResponse & {
    statusCode: number;
    setHeader(name: string, value: number | string | readonly string[]): unknown;
  },
  { statusCode, headers }: HostHead,
): void {
  response.statusCode = statusCode;
  for (const name of response.getHeaderNames()) response.removeHeader(name);
  for (const name in headers) {
    const value = headers[name];
    if (value !== undefined) response.setHeader(name, value);
  }
}

// Headers that frame the body. A value from the host would be wrong.
const FRAMING = new Set(['content-length', 'content-range', 'transfer-encoding', 'accept-ranges']);

/**
 * Merges the headers of the handler (`headers`) with the headers that the host has set. Headers of the host have
 * priority, with two exceptions: headers that frame the body, and error responses, whose body comes from the handler.
 * `no-transform` is added to the Cache-Control of the host. If a header is a list, such as Content-Security-Policy, the
 * values of the handler are added to those of the host: a browser applies all policies of a response.
 */
export function mergeHostHeaders(response: HostResponse, status: number, headers: ResponseHeaders): ResponseHeaders {
  const names = response.getHeaderNames();
  if (names.length === 0) return headers;
  const merged = { ...headers };
  for (const name of names) {
    const value = response.getHeader(name);
    if (FRAMING.has(name)) {
      if (merged[name] === undefined) response.removeHeader(name);
    } else if (status < 400 && merged[name] !== undefined && value !== undefined) {
      if (name === 'cache-control') merged[name] = withNoTransform(String(value));
      else if (LISTS.has(name)) merged[name] = `${value}, ${merged[name]}`;
      else delete merged[name];
    }
  }
  return merged;
}

// Artifacts must not be re-encoded. The middleware `compression` skips responses with `no-transform` (RFC 9111, section
// 5.2.2.6).
function withNoTransform(cacheControl: string): string {
  return /\bno-transform\b/i.test(cacheControl) ? cacheControl : `${cacheControl}, no-transform`;
}
