import test from 'ava';
import { MILLISECONDS, WINDOW_BYTES } from '../../src/contract/validation.js';

test('accepts as milliseconds only what setTimeout can count', (t) => {
  for (const value of [1, 2 ** 31 - 1]) t.true(MILLISECONDS.accepts(value), String(value));
  for (const value of [0, -1, 1.5, 2 ** 31, Number.NaN, '1']) t.false(MILLISECONDS.accepts(value), String(value));
});

test('accepts as a window size only what RFC 9113 allows', (t) => {
  for (const value of [65_535, 2 ** 31 - 1]) t.true(WINDOW_BYTES.accepts(value), String(value));
  for (const value of [65_534, 70_000.5, 2 ** 31, Number.NaN, '65535']) {
    t.false(WINDOW_BYTES.accepts(value), String(value));
  }
});
