import { IncomingMessage } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';

/**
 * Whether a listener is an application of Express. Express 4 and 5 give every request their own prototype, which is one
 * of node:http: over HTTP/2 that takes its own methods away, and the first request ends the process.
 */
export function isExpress(listener: unknown): boolean {
  if (typeof listener !== 'function' || !('request' in listener) || !('handle' in listener)) return false;
  return listener.request instanceof IncomingMessage;
}

/** Answers for an Express application over HTTP/2 what it cannot answer itself. */
export function refuseHttp2(_request: Http2ServerRequest, response: Http2ServerResponse): void {
  const body = '{"message":"This path is served over HTTP/1.1 only."}\n';
  response.writeHead(505, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  });
  response.end(body);
}
