import type { Exchange } from '../contract/exchange.js';
import { answerError } from '../handler/reply.js';

/** Responds with 404 to a request that neither the handler nor the host has answered. */
export function answerMissing(exchange: Exchange): void {
  if (!exchange.headersSent) answerError(exchange, 404);
}
