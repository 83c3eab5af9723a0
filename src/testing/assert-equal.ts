import assert from 'node:assert/strict';
import { inspect, isDeepStrictEqual } from 'node:util';

/**
 * Asserts deep equality. The error message shows both values. node:assert leaves them out if it is called with a
 * message.
 */
export function assertEqual(actual: unknown, expected: unknown, what: string): void {
  if (isDeepStrictEqual(actual, expected)) return;
  const message = `${what}: expected ${inspect(expected)}, received ${inspect(actual)}`;
  throw new assert.AssertionError({ message, actual, expected, operator: 'deepStrictEqual' });
}
