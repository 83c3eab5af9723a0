/**
 * Returns whether `value` is a promise. Any object with a `then` counts: stores may return thenables, and `instanceof
 * Promise` is false for promises of another realm, as in Jest.
 */
export function isPromise<T>(value: T | Promise<T>): value is Promise<T> {
  // A store that is written in JavaScript may return a string or null.
  return typeof value === 'object' && value !== null && 'then' in value;
}
