import { HotblobError } from './errors.js';
import type { Store } from './store.js';
import { invalidOption, OBJECT } from './validation.js';

/** Classes of the language and of Node whose `get` does not return artifacts. */
const COLLECTIONS: ReadonlySet<string> = new Set(['Map', 'WeakMap', 'URLSearchParams', 'Headers', 'FormData']);

/**
 * Asserts that a value is a store with the required methods.
 *
 * @param name name of the option, for the error message
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` if it is no object, a promise or a Map, `ERR_HOTBLOB_INVALID_STORE` if a method is
 *   missing or is no function
 */
export function assertStore(name: string, store: Store, required: readonly (keyof Store)[] = ['get']): void {
  if (!OBJECT.accepts(store)) throw invalidOption(name, 'a store, such as await directoryStore(dir)', store);
  if ('then' in store) {
    const message = `${name}: expected a store, received a promise; await the function that opens the store`;
    throw new HotblobError('ERR_HOTBLOB_INVALID_OPTION', message);
  }
  // Unlike instanceof, the tag also finds the objects of another realm, in which Jest runs tests.
  const tag = Object.prototype.toString.call(store).slice('[object '.length, -1);
  if (COLLECTIONS.has(tag)) {
    const message = `${name}: expected a store, such as memoryStore() or await directoryStore(dir), received a ${tag}`;
    throw new HotblobError('ERR_HOTBLOB_INVALID_OPTION', message);
  }
  for (const method of ['get', 'put', 'delete', 'close'] as const) {
    const value: unknown = store[method];
    if (typeof value === 'function' || (value === undefined && !required.includes(method))) continue;
    const message = `${name}.${method}: expected a function, received ${typeof value}`;
    throw new HotblobError('ERR_HOTBLOB_INVALID_STORE', message);
  }
}
