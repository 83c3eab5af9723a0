import { readFile } from 'node:fs/promises';
import { runInNewContext } from 'node:vm';
import test from 'ava';
import { errnoCode, HotblobError, statusOf } from '../../src/contract/errors.js';

test('errnoCode() returns the code of a system error, of an error of another realm, and of a HotblobError', async (t) => {
  const system = await t.throwsAsync(readFile('/nowhere/at/all'));
  const otherRealm: unknown = runInNewContext("Object.assign(new Error('no room'), { code: 'ENOSPC' })");
  t.false(otherRealm instanceof Error);
  t.is(errnoCode(system), 'ENOENT');
  t.is(errnoCode(otherRealm), 'ENOSPC');
  t.is(statusOf(otherRealm), 507);
  t.is(errnoCode(new HotblobError('ERR_HOTBLOB_LOCKED', '')), 'ERR_HOTBLOB_LOCKED');
});

test('errnoCode() returns undefined and statusOf() returns 500 for a value without a code', (t) => {
  for (const thrown of [
    undefined,
    null,
    'ENOENT',
    new Error('ENOENT'),
    { code: 20 },
    new DOMException('', 'AbortError'),
  ]) {
    t.is(errnoCode(thrown), undefined);
    t.is(statusOf(thrown), 500);
  }
});
