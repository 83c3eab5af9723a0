import test from 'ava';
import fc from 'fast-check';
import { keyMatcher, patternMatcher } from '../../src/keys/artifact-filter.js';

test('selects keys by scope, namespace and protocol', (t) => {
  const keys = ['nx/1', 'turborepo/teams/web/1', '.scopes/main/nx/1', '.scopes/pr%2f7/turborepo/slugs/web/1', 'other'];
  const select = (filter: Parameters<typeof keyMatcher>[0]) => keys.filter(keyMatcher(filter));
  t.deepEqual(select({}), keys);
  t.deepEqual(select({ scope: 'main' }), [keys[2]]);
  t.deepEqual(select({ scope: 'pr/*' }), [keys[3]]);
  t.deepEqual(select({ scope: 'default' }), [keys[0], keys[1], keys[4]]);
  t.deepEqual(select({ protocol: 'nx' }), [keys[0], keys[2]]);
  t.deepEqual(select({ protocol: 'plain' }), [keys[4]]);
  t.deepEqual(select({ namespace: 'web' }), [keys[1], keys[3]]);
  t.deepEqual(select({ namespace: '*' }), [keys[1], keys[3]]);
  t.deepEqual(select({ namespace: 'w*', scope: '*', protocol: 'turborepo' }), [keys[1], keys[3]]);
});

test('rejects an invalid filter', (t) => {
  const expected = { code: 'ERR_HOTBLOB_INVALID_OPTION' };
  for (const filter of [{ scope: '' }, { namespace: 1 }, { protocol: null }, { scopes: 'main' }, 'main', undefined]) {
    t.throws(() => keyMatcher(filter as never), expected);
  }
});

test('a pattern matches like the regular expression with the same meaning', (t) => {
  const text = fc.stringMatching(/^[ab./+]{0,8}$/);
  const pattern = fc.stringMatching(/^[ab./+*]{0,6}$/);
  fc.assert(
    fc.property(pattern, text, (source, value) => {
      const parts = source.split('*').map((part) => part.replace(/[.+/]/g, '\\$&'));
      t.is(patternMatcher(source)(value), new RegExp(`^${parts.join('.*')}$`).test(value), `${source} ${value}`);
    }),
    { numRuns: 5000 },
  );
});

test('a pattern with many wildcards takes linear time', (t) => {
  t.false(patternMatcher(`${'a*'.repeat(5000)}b`)('a'.repeat(100_000)));
});
