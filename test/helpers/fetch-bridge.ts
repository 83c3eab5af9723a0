import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Listener } from './mounts.js';

/**
 * Returns a node:http request listener that calls a Fetch API function. If the client disconnects, the signal of the request is
 * aborted. If the response body fails, the socket is destroyed.
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
  // If the body fails, pipeline() destroys the socket, which aborts the response for the client.
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
  // A proxy sends the target in absolute form (RFC 9112, section 3.2.2).
  const target = url.startsWith('/') ? `http://${incoming.headers.host}${url}` : url;
  return new Request(target, { method, headers, body, duplex: 'half', signal });
}
