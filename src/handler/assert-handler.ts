import { invalidOption } from '../contract/validation.js';
import type { ExchangeHandler } from './handler.js';

/**
 * Checks that a value can handle exchanges, so that a mistake is reported when the handler is mounted, not at the first request.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` if it cannot
 */
export function assertHandler(handler: ExchangeHandler): void {
  if (isHandler(handler)) return;
  throw invalidOption('handler', 'the result of createHandler()', handler);
}

/** Whether a value can handle exchanges. */
export function isHandler(value: unknown): value is ExchangeHandler {
  return typeof value === 'object' && value !== null && 'handle' in value && typeof value.handle === 'function';
}
