import { HotblobError } from '../contract/errors.js';

/**
 * Base class of handlers. If a handler is passed to `createServer()` of node:http or node:https, Node takes it for options, and
 * the server would never respond. Node reads these options first. They are inherited and not enumerable, so copies, JSON and
 * `util.inspect` do not read them. node:http2 reads only the properties of the object itself, so the guard cannot see its call.
 */
export abstract class MisuseGuard {
  /** @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` always. Option of `http.createServer()`. */
  get IncomingMessage(): undefined {
    throw misuseError('node:http');
  }

  /** @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` always. Option of `https.createServer()`. */
  get ALPNProtocols(): undefined {
    throw misuseError('node:https');
  }
}

function misuseError(module: string): Error {
  const expected = `a listener, received a handler; use createServer(nodeListener(handler)) with nodeListener of hotblob/node`;
  return new HotblobError('ERR_HOTBLOB_INVALID_OPTION', `createServer of ${module}: expected ${expected}`);
}
