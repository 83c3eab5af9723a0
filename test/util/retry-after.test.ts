import test from 'ava';
import { retryAfterSeconds } from '../../src/util/retry-after.js';

/** Returns how often each value occurs among `count` refusals at the time `now`. */
function valuesOf(count: number, now: number): number[] {
  const values = Array.from({ length: count }, () => retryAfterSeconds(now));
  return [...new Set(values)].sort((a, b) => a - b);
}

test('few refused clients come back after one or two seconds, many are spread over ten', (t) => {
  for (let second = 1; second <= 100; second++) {
    t.true(valuesOf(1, 1e9 + second * 1000).every((value) => value === 1 || value === 2));
  }
  t.deepEqual(valuesOf(5000, 2e9), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  t.true(
    valuesOf(1, 3e9).every((value) => value <= 2),
    'the next second begins again',
  );
});
