import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Number of waiting requests of a connection at which its socket is read no further. */
const PAUSE_AT = 32;
/** Number of waiting requests at which the socket is read again. */
const RESUME_AT = 16;
/**
 * Number of waiting requests at which the connection is closed. A pause takes effect only after the current read of the socket,
 * which can contain hundreds of requests.
 */
const CLOSE_AT = 512;

/** Waiting responses, by connection. */
const waiting = new WeakMap<Socket, Set<ServerResponse>>();

/**
 * Limits the requests of a connection that wait for earlier responses (HTTP/1.1 pipelining). Node pauses a socket only
 * for response bytes that it has queued. While a response has no bytes to send, Node parses and holds every request
 * that the client sends.
 *
 * If the connection is closed, emits 'close' on the waiting responses. Node does this only for the response that is assigned
 * to the socket.
 *
 * @param response response that is not assigned to the socket yet
 */
export function limitPipeline({ socket }: IncomingMessage, response: ServerResponse): void {
  const responses = waiting.get(socket) ?? addTo(socket);
  // A host may pass a request to several handlers.
  if (responses.has(response)) return;
  responses.add(response);
  if (responses.size >= CLOSE_AT) socket.destroy();
  // For each further request: reading a request body resumes the socket.
  else if (responses.size >= PAUSE_AT) socket.pause();
  response.once('socket', () => {
    responses.delete(response);
    if (responses.size === RESUME_AT && !socket.destroyed) socket.resume();
  });
}

function addTo(socket: Socket): Set<ServerResponse> {
  const responses = new Set<ServerResponse>();
  waiting.set(socket, responses);
  socket.once('close', () => {
    for (const response of responses) response.emit('close');
  });
  return responses;
}
