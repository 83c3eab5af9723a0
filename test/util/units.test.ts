import test from 'ava';
import fc from 'fast-check';
import {
  formatBytes,
  formatCountOf,
  formatDuration,
  formatShare,
  parseBytes,
  parseDuration,
} from '../../src/util/units.js';

test('parses sizes with and without units', (t) => {
  const cases: [string, number | undefined][] = [
    ['0', 0],
    ['1024', 1024],
    ['1k', 1024],
    ['1.5KiB', 1536],
    ['50GiB', 50 * 2 ** 30],
    ['50G', 50 * 2 ** 30],
    ['2TB', 2 * 2 ** 40],
    ['huge', undefined],
    ['', undefined],
    ['-1', undefined],
    ['1 G', undefined],
    ['1PiB', undefined],
    ['9999999T', undefined],
  ];
  for (const [text, bytes] of cases) t.is(parseBytes(text), bytes, text);
});

test('formats sizes that parse to about the same number', (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 50 }), (bytes) => {
      const [number = '', unit = ''] = formatBytes(bytes).split(' ');
      const again = parseBytes(unit === 'bytes' ? number : number + unit) ?? Number.NaN;
      return Math.abs(again - bytes) <= Math.max(0.06 * bytes, 0);
    }),
  );
  t.is(formatBytes(0), '0 bytes');
  t.is(formatBytes(1023), '1023 bytes');
  t.is(formatBytes(1536), '1.5 KiB');
  t.is(formatBytes(0.5), '0.5 bytes');
});

test('rounds a share to 0% or 100% only if it is exact', (t) => {
  const cases: [number, string][] = [
    [0, '0%'],
    [1, '100%'],
    [0.999, '99%'],
    [0.001, '1%'],
    [0.5, '50%'],
  ];
  for (const [share, text] of cases) t.is(formatShare(share), text);
});

test('formats durations in two units and counts with a noun', (t) => {
  const cases: [number, string][] = [
    [0, '0 s'],
    [59.9, '59 s'],
    [61, '1 min 1 s'],
    [3 * 3600 + 12 * 60 + 5, '3 h 12 min'],
    [50 * 3600, '2 d 2 h'],
  ];
  for (const [seconds, text] of cases) t.is(formatDuration(seconds), text);
  t.is(formatCountOf(1, 'artifact'), '1 artifact');
  t.is(formatCountOf(0, 'artifact'), '0 artifacts');
  t.is(formatCountOf(12_345, 'artifact'), '12,345 artifacts');
});

test('a duration is parsed in milliseconds', (t) => {
  t.is(parseDuration('30d'), 2_592_000_000);
  t.is(parseDuration('1.5h'), 5_400_000);
  t.is(parseDuration('90m'), 5_400_000);
  t.is(parseDuration('0s'), 0);
  for (const text of ['', '3', 'd', '-1d', '1w', '1 d', '1D', '999999999999999d'])
    t.is(parseDuration(text), undefined, text);
});
