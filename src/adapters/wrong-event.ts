import { subscribe } from 'node:diagnostics_channel';
import type { EventEmitter } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerResponse, ServerHttp2Stream } from 'node:http2';
import { clientMessage } from '../contract/errors.js';
import { warnOnce } from '../util/warn-once.js';

/**
 * If `value` is an HTTP/2 stream, answers it with 500, warns, and returns true. Called for the arguments of a `'request'`
 * listener: an exception would end the process.
 */
export function refuseStream(value: unknown): boolean {
  const stream = value as Partial<ServerHttp2Stream>;
  if (typeof stream?.respond !== 'function' || typeof stream.end !== 'function') return false;
  warnOnce(
    "nodeListener: expected a request and a response, received an HTTP/2 stream; add it to 'request', or use streamListener",
  );
  stream.respond({ ':status': 500 });
  stream.end(clientMessage(500));
  return true;
}

/** If `value` is a response, answers with 500, warns, and returns true. Called for the arguments of a `'stream'` listener. */
export function refuseRequest(value: unknown): boolean {
  const response = value as Partial<ServerResponse | Http2ServerResponse>;
  if (typeof response.writeHead !== 'function') return false;
  warnOnce(
    "streamListener: expected an HTTP/2 stream, received a request and a response; add it to 'stream', or use nodeListener",
  );
  answer(response as ServerResponse);
  return true;
}

/** Listeners for `'stream'`, which receive no HTTP/1.1 requests. */
const streamListeners = new WeakSet<object>();
let isWatching = false;

/**
 * Watches for HTTP/1.1 requests to a server (`allowHTTP1`) whose only listener is `listener`, for `'stream'`: nothing would
 * answer them. The only sign of such a request is the diagnostics channel of node:http.
 */
export function watchHttp1(listener: object): void {
  streamListeners.add(listener);
  if (isWatching) return;
  isWatching = true;
  subscribe('http.server.request.start', (message) => {
    const { server, response } = message as RequestStart;
    // This runs for every HTTP/1.1 request of the process.
    if (server.listenerCount('request') > 0 || !server.listeners('stream').some((each) => streamListeners.has(each))) {
      return;
    }
    warnOnce(
      "streamListener: the server accepts HTTP/1.1 (allowHTTP1) but has no 'request' listener; add nodeListener to 'request' instead, which serves both versions",
    );
    // Node does more with the request in this tick.
    setImmediate(answer, response);
  });
}

/** Message of the channel. */
interface RequestStart {
  readonly server: EventEmitter;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

function answer(response: ServerResponse): void {
  response.statusCode = 500;
  response.end(clientMessage(500));
}
