/** Method of our stores that tells whether they can hold an artifact under a key. */
export const HOLDS_KEY: unique symbol = Symbol('holdsKey');

/** Store that cannot hold an artifact under every key. */
export interface KeyLimits {
  [HOLDS_KEY](key: string): boolean;
}

/** Returns whether a store can hold an artifact under a key. */
export function holdsKey(store: object | KeyLimits, key: string): boolean {
  return !(HOLDS_KEY in store) || store[HOLDS_KEY](key);
}
