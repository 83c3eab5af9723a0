import { IncomingMessage } from 'node:http';
import { Http2ServerRequest, Http2ServerResponse } from 'node:http2';

type Http2Listener = (request: Http2ServerRequest, response: Http2ServerResponse) => void;

const REFUSAL = Buffer.from('{"message":"This path is served over HTTP/1.1 only."}\n');

/**
 * A listener that can be trusted with HTTP/2. Express 4 and 5 give every request a prototype of node:http: over HTTP/2
 * that takes its own methods away, and the first request ends the process. So an application of Express is not called,
 * and where a function has called one all the same, what it has done is undone before it goes on. Either way the answer is
 * 505.
 */
export function safeForHttp2(listener: Http2Listener): Http2Listener {
  if (isExpress(listener)) return refuse;
  return (request, response) => {
    listener(request, response);
    if (Object.getPrototypeOf(request) !== Http2ServerRequest.prototype) takeBack(request, response);
  };
}

function isExpress(listener: Http2Listener): boolean {
  return 'handle' in listener && 'request' in listener && listener.request instanceof IncomingMessage;
}

/** Express has failed by now, and answers in a moment: whatever it wants to say then, the client gets the refusal. */
function takeBack(request: Http2ServerRequest, response: Http2ServerResponse): void {
  Object.setPrototypeOf(request, Http2ServerRequest.prototype);
  Object.setPrototypeOf(response, Http2ServerResponse.prototype);
  const end = () => {
    for (const name of NAMES) Reflect.deleteProperty(response, name);
    if (!response.headersSent) refuse(request, response);
    return response;
  };
  for (const name of NAMES) Reflect.defineProperty(response, name, { value: end, configurable: true });
}

/** What begins or ends an answer. */
const NAMES = ['writeHead', 'write', 'end'] as const;

function refuse(_request: Http2ServerRequest, response: Http2ServerResponse): void {
  response.writeHead(505, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': REFUSAL.byteLength,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  });
  response.end(REFUSAL);
}
