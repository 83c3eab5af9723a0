import type { EventEmitter } from 'node:events';
import type { NodeRequest, NodeResponse } from './node.js';

/**
 * `'checkContinue'` listener for servers of node:http, node:https and node:http2: `server.on('checkContinue', continueOnRead)`.
 * Without it, Node sends `100 Continue` before the host has seen the request, and the client sends the body of an upload that is then
 * refused. With it, `100 Continue` is sent when the handler, or a body parser of the host, first reads the request. A request that is
 * refused before gets its final status only (RFC 9110, section 10.1.1).
 */
export function continueOnRead(this: EventEmitter, request: NodeRequest, response: NodeResponse): void {
  const { read } = request;
  const sendContinue = (): void => {
    request.read = read;
    // Node also reads the body of a request that has been answered, to discard it.
    if (!response.headersSent) response.writeContinue();
  };
  request.read = (size) => {
    sendContinue();
    return read.call(request, size);
  };
  // Without a body nothing reads it, and node:http closes a connection on which it has not sent `100 Continue`.
  if (isBodiless(request)) sendContinue();
  this.emit('request', request, response);
}

function isBodiless({ headers, httpVersionMajor }: NodeRequest): boolean {
  if (httpVersionMajor !== 1 || headers['transfer-encoding'] !== undefined) return false;
  return Number(headers['content-length'] ?? 0) === 0;
}
