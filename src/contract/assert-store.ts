import { HotblobError } from './errors.js';
import type { Store } from './store.js';
import { invalidOption, OBJECT } from './validation.js';

/**
 * Asserts that a value is a store with the required methods.
 *
 * @param name name of the option, for the error message
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` if it is no object or a promise, `ERR_HOTBLOB_INVALID_STORE` if a method is
 *   missing or is no function
 */
export function assertStore(name: string, store: Store, required: readonly (keyof Store)[] = ['get']): void {
  if (!OBJECT.accepts(store)) throw invalidOption(name, 'a store, such as await directoryStore(dir)', store);
  if ('then' in store) {
    const message = `${name}: expected a store, received a promise; await the function that opens the store`;
    throw new HotblobError('ERR_HOTBLOB_INVALID_OPTION', message);
  }
  for (const method of ['get', 'put', 'delete', 'close'] as const) {
    const value: unknown = store[method];
    if (typeof value === 'function' || (value === undefined && !required.includes(method))) continue;
    const message = `${name}.${method}: expected a function, received ${typeof value}`;
    throw new HotblobError('ERR_HOTBLOB_INVALID_STORE', message);
  }
}
