import { IncomingMessage } from 'node:http';
import { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import { REPLY_HEADERS } from '../http/browser-headers.js';

/** Request listener of the compatibility API of node:http2. */
export type Http2Listener = (request: Http2ServerRequest, response: Http2ServerResponse) => void;

const UNSUPPORTED_BODY = Buffer.from('{"message":"This path is served over HTTP/1.1 only."}\n');

/**
 * Wraps a listener so that an Express application cannot crash the process over HTTP/2. Express 4 and 5 set the
 * prototype of every request and response to a prototype of node:http. This removes the HTTP/2 methods, and the next
 * call of such a method throws. An Express application is therefore not called. If a function has called an Express
 * application, the prototypes are restored. In both cases, the response is 505 (HTTP Version Not Supported).
 */
export function guardExpress(listener: Http2Listener): Http2Listener {
  if (isExpress(listener)) return sendUnsupported;
  return (request, response) => {
    listener(request, response);
    if (Object.getPrototypeOf(request) !== Http2ServerRequest.prototype) restore(request, response);
  };
}

function isExpress(listener: Http2Listener): boolean {
  return 'handle' in listener && 'request' in listener && listener.request instanceof IncomingMessage;
}

/**
 * Restores the prototypes, and replaces the methods of the response. When Express sends its response later, these
 * methods send the 505 instead.
 */
function restore(request: Http2ServerRequest, response: Http2ServerResponse): void {
  Object.setPrototypeOf(request, Http2ServerRequest.prototype);
  Object.setPrototypeOf(response, Http2ServerResponse.prototype);
  const sendOnce = () => {
    for (const name of RESPONSE_METHODS) Reflect.deleteProperty(response, name);
    if (!response.headersSent) sendUnsupported(request, response);
    return response;
  };
  for (const name of RESPONSE_METHODS) {
    Reflect.defineProperty(response, name, { value: sendOnce, configurable: true });
  }
}

const RESPONSE_METHODS = ['writeHead', 'write', 'end'] as const;

function sendUnsupported(_request: Http2ServerRequest, response: Http2ServerResponse): void {
  response.writeHead(505, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': UNSUPPORTED_BODY.byteLength,
    'cache-control': 'no-store',
    ...REPLY_HEADERS,
  });
  response.end(UNSUPPORTED_BODY);
}
