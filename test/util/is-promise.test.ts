import { runInNewContext } from 'node:vm';
import test from 'ava';
import { isPromise } from '../../src/util/is-promise.js';

test('recognizes a promise', (t) => {
  t.true(isPromise(Promise.resolve({})));
});

test('recognizes a promise of another realm', (t) => {
  const promise = runInNewContext('Promise.resolve({})') as Promise<object>;
  t.false(promise instanceof Promise);
  t.true(isPromise(promise));
});

test('takes undefined and an object without `then` for values', (t) => {
  t.false(isPromise(undefined));
  t.false(isPromise({ kind: 'bytes' }));
});
