import test from 'ava';
import { Backoff } from '../../src/cluster/backoff.js';

test('the first replacement is immediate, and each further one of a process that fails waits twice as long', (t) => {
  const backoff = new Backoff();
  t.is(backoff.next(3_600_000), 0);
  const delays = Array.from({ length: 7 }, () => backoff.next(0));
  t.deepEqual(delays, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
});

test('a process that has served for ten seconds is replaced at once', (t) => {
  const backoff = new Backoff();
  for (let failure = 0; failure < 5; failure++) backoff.next(9999);
  t.is(backoff.next(9999), 16_000);
  t.is(backoff.next(10_000), 0);
  t.is(backoff.next(0), 1000);
});
