import test from 'ava';
import { Histogram, LATENCY_BOUNDS_SECONDS } from '../../src/util/histogram.js';

test('a new histogram has a zero for each bucket and for slower values', (t) => {
  const { counts, sum } = new Histogram().snapshot();
  t.deepEqual(counts, new Array(LATENCY_BOUNDS_SECONDS.length + 1).fill(0));
  t.is(sum, 0);
});

test('a value on a bound is in the bucket below it', (t) => {
  for (const [index, bound] of LATENCY_BOUNDS_SECONDS.entries()) {
    const histogram = new Histogram();
    histogram.add(bound * 1000);
    histogram.add(bound * 1001);
    const { counts } = histogram.snapshot();
    t.is(counts[index], 1);
    t.is(counts[index + 1], 1);
  }
});

test('sums all values in seconds', (t) => {
  const histogram = new Histogram();
  for (const milliseconds of [0, 500, 1500, 100_000]) histogram.add(milliseconds);
  t.is(histogram.snapshot().sum, 102);
  t.is(histogram.snapshot().counts.at(-1), 1);
});
