import test from 'ava';
import fc from 'fast-check';
import { TwoGenerationMap } from '../../src/util/two-generation-map.js';
import { heapShareOfUrls } from '../helpers/long-urls.js';

test('returns undefined for a key that was never set', (t) => {
  t.is(new TwoGenerationMap<string, number>(2).get('a'), undefined);
});

test('returns the value that was set last, also when the key is in both generations', (t) => {
  const map = new TwoGenerationMap<string, number>(2);
  map.set('a', 1);
  map.set('b', 2);
  map.set('c', 3);
  map.set('a', 4);
  t.is(map.get('a'), 4);
});

test('keeps values that are falsy', (t) => {
  const map = new TwoGenerationMap<string, number>(1);
  map.set('a', 0);
  map.set('b', 0);
  t.is(map.get('a'), 0);
});

test('forgets a key after two generations without a set', (t) => {
  const map = new TwoGenerationMap<string, number>(2);
  for (const [index, key] of ['a', 'b', 'c', 'd'].entries()) map.set(key, index);
  t.is(map.get('a'), 0);
  t.is(map.get('a'), 0, 'reading does not prolong its life');
  map.set('e', 4);
  t.is(map.get('a'), undefined);
  t.is(map.get('c'), 2);
});

test('setting a key again keeps it and does not fill a generation', (t) => {
  const map = new TwoGenerationMap<string, number>(2);
  map.set('a', 0);
  map.set('b', 0);
  for (let value = 1; value <= 10; value++) map.set('b', value);
  t.is(map.get('a'), 0);
  t.is(map.get('b'), 10);
});

test('holds nothing after clear()', (t) => {
  const map = new TwoGenerationMap<string, number>(1);
  map.set('a', 1);
  map.set('b', 2);
  map.clear();
  t.is(map.get('a'), undefined);
  t.is(map.get('b'), undefined);
});

test('holds the keys set last, at least one generation and at most two', (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5 }), fc.array(fc.nat(12)), (generationSize, keys) => {
      const map = new TwoGenerationMap<number, number>(generationSize);
      for (const [index, key] of keys.entries()) map.set(key, index);
      const latestFirst = [...new Set([...keys].reverse())];
      const held = latestFirst.filter((key) => map.get(key) !== undefined);
      const areLatest = held.every(
        (key, index) => key === latestFirst[index] && map.get(key) === keys.lastIndexOf(key),
      );
      const isEnough = held.length >= Math.min(generationSize, latestFirst.length);
      return areLatest && isEnough && held.length <= 2 * generationSize;
    }),
  );
  t.pass();
});

test.serial('does not keep the string in memory of which a key is a part', async (t) => {
  const map = new TwoGenerationMap<string, number>(2000);
  const share = await heapShareOfUrls(2000, (key) => map.set(key, 1));
  t.true(share < 0.3, `${share} of the strings are in memory`);
  t.is(map.get('0'.repeat(40)), 1);
});
