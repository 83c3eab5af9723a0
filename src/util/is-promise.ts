/**
 * Returns whether `value` is a promise. Any object with a `then` counts: stores may return thenables, and `instanceof
 * Promise` is false for promises of another realm, as in Jest.
 */
export function isPromise<T extends object>(
  value: T | undefined | Promise<T | undefined>,
): value is Promise<T | undefined> {
  // A store that is written in JavaScript may return a string or null.
  return typeof value === 'object' && value !== null && 'then' in value;
}
