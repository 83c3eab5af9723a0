/**
 * Method of our stores that records a read of a key for eviction, without reading it. A process that shares the store with others
 * calls it for their reads.
 */
export const RECORD_READ: unique symbol = Symbol('recordRead');

/** Store that takes part in eviction. */
export interface ReadRecorder {
  [RECORD_READ](key: string): void;
}

/** Records a read of `key` in a store, if the store takes part in eviction. */
export function recordRead(store: object | ReadRecorder, key: string): void {
  if (RECORD_READ in store) store[RECORD_READ](key);
}
