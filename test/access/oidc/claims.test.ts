import test from 'ava';
import { claimOf, singleTextOf, textsOf } from '../../../src/access/oidc/claims.js';

test('a claim with exactly this name comes before a path', (t) => {
  const claims = { 'a.b': 1, a: { b: 2 }, 'oidc.circleci.com/project-id': 'p' };
  t.is(claimOf(claims, 'a.b'), 1);
  t.is(claimOf(claims, 'oidc.circleci.com/project-id'), 'p');
});

test('a name with dots is a path into nested claims', (t) => {
  const claims = { 'kubernetes.io': { namespace: 'ci', serviceaccount: { name: 'builder' } }, list: ['a'] };
  t.is(claimOf(claims, 'kubernetes.io.namespace'), 'ci');
  t.is(claimOf(claims, 'kubernetes.io.serviceaccount.name'), 'builder');
  t.is(claimOf(claims, 'kubernetes.io.pod.name'), undefined);
  t.is(claimOf(claims, 'list.0'), undefined);
  t.is(claimOf(claims, '.namespace'), undefined);
});

test('names of object prototypes are not claims', (t) => {
  for (const name of ['constructor', '__proto__', 'toString', 'constructor.name', '__proto__.constructor']) {
    t.is(claimOf({ a: 'b' }, name), undefined, name);
  }
});

test('texts of strings, numbers, booleans and arrays', (t) => {
  t.deepEqual(textsOf('a'), ['a']);
  t.deepEqual(textsOf(7), ['7']);
  t.deepEqual(textsOf(true), ['true']);
  t.deepEqual(textsOf(['a', 1, null, ['b'], {}]), ['a', '1']);
  for (const value of [undefined, null, {}, 2 ** 53, 1.5, []]) t.deepEqual(textsOf(value), []);
});

test('a single text is neither empty nor an array', (t) => {
  t.is(singleTextOf('a'), 'a');
  t.is(singleTextOf(0), '0');
  for (const value of ['', ['a'], null, undefined, {}]) t.is(singleTextOf(value), undefined);
});
