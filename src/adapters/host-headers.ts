import type { OutgoingHttpHeader } from 'node:http';
import type { ResponseHeaders } from '../contract/exchange.js';

/** Response on which the host may have set headers. */
export interface HostResponse {
  getHeaderNames(): string[];
  getHeader(name: string): OutgoingHttpHeader | undefined;
  removeHeader(name: string): void;
}

// A value that the host set for one of these would frame the body wrongly.
const FRAMING = new Set(['content-length', 'content-range', 'transfer-encoding', 'accept-ranges']);

/**
 * Merges `headers` with those that the host has set. Headers of the host win, except those that frame the body, and except in error
 * responses, whose body is ours. `no-transform` is added to the Cache-Control of the host, and our metrics to its Server-Timing.
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
      else if (name === 'server-timing') merged[name] = `${value}, ${merged[name]}`;
      else delete merged[name];
    }
  }
  return merged;
}

// Artifacts must not be re-encoded, and `compression` skips such responses (RFC 9111, section 5.2.2.6).
function withNoTransform(cacheControl: string): string {
  return /\bno-transform\b/i.test(cacheControl) ? cacheControl : `${cacheControl}, no-transform`;
}
