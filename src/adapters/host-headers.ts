import type { OutgoingHttpHeader } from 'node:http';
import type { ResponseHeaders } from '../contract/exchange.js';

/** What a host may have set on its response before it came to us. */
export interface HostResponse {
  getHeaderNames(): string[];
  getHeader(name: string): OutgoingHttpHeader | undefined;
  removeHeader(name: string): void;
}

// A value of somebody else's for one of these would tell the client where the body ends, and be wrong.
const FRAMING = new Set(['content-length', 'content-range', 'transfer-encoding', 'accept-ranges']);

/**
 * Our headers for a response that may have some already: what the host has set stays, but for what frames the body, and
 * for what describes our own error bodies. `no-transform` is added to the host's Cache-Control, and our metrics to its
 * Server-Timing.
 */
export function besideHostHeaders(response: HostResponse, status: number, headers: ResponseHeaders): ResponseHeaders {
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

// Bodies are opaque, and `compression` never says when the bytes have left (RFC 9111, 5.2.2.6).
function withNoTransform(cacheControl: string): string {
  return /\bno-transform\b/i.test(cacheControl) ? cacheControl : `${cacheControl}, no-transform`;
}
