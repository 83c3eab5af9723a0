import test from 'ava';
import fc from 'fast-check';
import { isKey } from '../../src/contract/store.js';
import { isScope, SCOPES_PREFIX, scopePrefix, splitScope } from '../../src/keys/scope.js';

const scope = fc.oneof(
  fc.stringMatching(/^[\w.~%+:@=-]{1,20}(?:\/[\w.~%+:@=-]{1,20}){0,3}$/).filter(isScope),
  fc.constantFrom('main', 'pr/7', 'pr/refs%2Fpull%2F7%2Fmerge', 'PR', 'pr', 'a%2fb', 'a/b', 'a%2Fb', '.scopes', 'con'),
);
const key = fc.stringMatching(/^[a-z]{1,9}(?:\/[\w%.]{1,9}x){0,3}$/).filter(isKey);

test('the prefix of a scope can be taken off again', (t) => {
  fc.assert(
    fc.property(scope, key, (name, rest) => {
      t.deepEqual(splitScope(scopePrefix(name) + rest), { scope: name, key: rest });
      t.true(isKey(scopePrefix(name) + rest));
    }),
  );
});

test('two scopes have no key in common, even on a file system that ignores case', (t) => {
  fc.assert(
    fc.property(scope, scope, key, key, (a, b, keyA, keyB) => {
      fc.pre(a !== b);
      const [first, second] = [scopePrefix(a) + keyA, scopePrefix(b) + keyB].map((each) => each.toLowerCase());
      t.not(first, second);
    }),
    { numRuns: 2000 },
  );
});

test('the default scope has no prefix', (t) => {
  t.is(scopePrefix('default'), '');
  t.deepEqual(splitScope('nx/1'), { scope: 'default', key: 'nx/1' });
});

test('a key that no scope can have belongs to the default scope', (t) => {
  const encoded = `${SCOPES_PREFIX}default/nx/1`;
  for (const storeKey of ['.scopes', '.scopes/main', '.scopes/Main/x', '.scopes/a%2F/x', '.scopes/%61/x', encoded]) {
    t.deepEqual(splitScope(storeKey), { scope: 'default', key: storeKey });
  }
});

test('accepts and refuses names of scopes', (t) => {
  for (const name of ['main', 'pr/7', 'a.b', '...', 'a@b', 'x'.repeat(240), 'A'.repeat(80)])
    t.true(isScope(name), name);
  for (const name of [
    '',
    '/',
    'a/',
    '/a',
    'a//b',
    '.',
    '..',
    'a/../b',
    'a/./b',
    'a b',
    'a\\b',
    'a\0',
    'a\n',
    'ä',
    '*',
    'a,b',
    'x'.repeat(241),
    'A'.repeat(81),
    'x'.repeat(10_000),
  ]) {
    t.false(isScope(name), name.slice(0, 20));
  }
});
