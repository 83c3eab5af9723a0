import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Handler } from '../handler.js';
import { Http1Exchange } from './http1-exchange.js';

/** A middleware for Express, mounted where its artifacts are to be: `app.use('/cache', expressMiddleware(handler))`. */
export function expressMiddleware(handler: Handler) {
  return (request: IncomingMessage, response: ServerResponse, next: (error?: unknown) => void): void => {
    void handler.handle(new Http1Exchange(request, response)).then((isOurs) => isOurs || next());
  };
}
