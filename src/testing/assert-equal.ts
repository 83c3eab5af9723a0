import assert from 'node:assert/strict';
import { inspect, isDeepStrictEqual } from 'node:util';

/** Asserts deep equality. Unlike a failure of node:assert with a message of its own, the error shows both values. */
export function assertEqual(actual: unknown, expected: unknown, what: string): void {
  if (isDeepStrictEqual(actual, expected)) return;
  const message = `${what}: expected ${inspect(expected)}, received ${inspect(actual)}`;
  throw new assert.AssertionError({ message, actual, expected, operator: 'deepStrictEqual' });
}
