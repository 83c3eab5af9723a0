import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Number of waiting requests of a connection at which its socket is read no further. */
const PAUSE_AT = 32;
/** Number of waiting requests at which the socket is read again. */
const RESUME_AT = 16;
/** Number of waiting requests of a connection at which it is closed. One read of a socket can contain this many requests. */
const CLOSE_AT = 512;

/** Number of waiting requests, by connection. */
const waiting = new WeakMap<Socket, number>();
const counted = new WeakSet<ServerResponse>();

/**
 * Limits the requests of a connection that wait for earlier responses (HTTP/1.1 pipelining). Node pauses a socket only
 * for response bytes that it has queued. While a response has no bytes to send, Node parses and holds every request
 * that the client sends.
 *
 * @param response response that is not assigned to the socket yet
 */
export function limitPipeline({ socket }: IncomingMessage, response: ServerResponse): void {
  // A host may pass a request to several handlers.
  if (counted.has(response)) return;
  counted.add(response);
  const count = (waiting.get(socket) ?? 0) + 1;
  waiting.set(socket, count);
  if (count >= CLOSE_AT) socket.destroy();
  // For each further request: reading a request body resumes the socket.
  else if (count >= PAUSE_AT) socket.pause();
  response.once('socket', () => {
    const left = (waiting.get(socket) ?? 1) - 1;
    waiting.set(socket, left);
    if (left === RESUME_AT && !socket.destroyed) socket.resume();
  });
}
