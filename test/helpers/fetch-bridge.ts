import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Listener } from './mounts.js';

/**
 * Returns a listener of node:http for a function of the Fetch API. The signal of a request aborts if the client disconnects, and a
 * response body that fails destroys the socket.
 */
export function fetchBridge(respond: (request: Request) => Promise<Response>): Listener {
  return (request, response) => {
    // The kinds of server that use the bridge speak HTTP/1.1.
    void bridge(respond, request as IncomingMessage, response as ServerResponse);
  };
}

async function bridge(
  respond: (request: Request) => Promise<Response>,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
  const disconnect = new AbortController();
  outgoing.on('close', () => disconnect.abort());
  const { status, headers, body } = await respond(requestOf(incoming, disconnect.signal));
  outgoing.writeHead(status, [...headers].flat());
  if (body === null) outgoing.end();
  // The client notices the destroyed socket. The server has nothing else to do.
  else await pipeline(Readable.fromWeb(body), outgoing).catch(() => {});
}

function requestOf(incoming: IncomingMessage, signal: AbortSignal): Request {
  const { method = 'GET', url = '/' } = incoming;
  const headers = new Headers();
  for (const [name, values = []] of Object.entries(incoming.headersDistinct)) {
    for (const value of values) headers.append(name, value);
  }
  // A Request of these methods cannot have a body.
  const body = method === 'GET' || method === 'HEAD' ? null : Readable.toWeb(incoming);
  return new Request(`http://${incoming.headers.host}${url}`, { method, headers, body, duplex: 'half', signal });
}
