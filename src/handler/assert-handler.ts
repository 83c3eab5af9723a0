import { invalidOption } from '../contract/validation.js';
import type { ExchangeHandler } from './handler.js';

/**
 * Asserts that a value is a handler, so that an error is reported when the handler is mounted, not at the first
 * request.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` if the value has no method `handle`
 */
export function assertHandler(handler: ExchangeHandler): void {
  if (isHandler(handler)) return;
  const remedy = remedyFor(handler);
  throw invalidOption('handler', `the result of createHandler()${remedy && ` (${remedy})`}`, handler);
}

function remedyFor(value: unknown): string {
  if (typeof value !== 'object' || value === null) return '';
  if ('then' in value) return 'await the promise';
  if ('headers' in value || 'req' in value) return 'call this function with it, and pass the result to app.use()';
  if ('store' in value) return 'call it with these options';
  return 'get' in value ? 'call it with { store }' : '';
}

/** Returns whether a value is a handler: an object with a method `handle`. */
export function isHandler(value: unknown): value is ExchangeHandler {
  return typeof value === 'object' && value !== null && 'handle' in value && typeof value.handle === 'function';
}
