import { readFile } from 'node:fs/promises';
import { runInNewContext } from 'node:vm';
import test from 'ava';
import { errnoCode, HotblobError, statusOf } from '../../src/contract/errors.js';

test('the code of an error of the system, of another realm and of this package', async (t) => {
  const system = await t.throwsAsync(readFile('/nowhere/at/all'));
  const foreign: unknown = runInNewContext("Object.assign(new Error('no room'), { code: 'ENOSPC' })");
  t.false(foreign instanceof Error, 'an error of another realm');
  t.is(errnoCode(system), 'ENOENT');
  t.is(errnoCode(foreign), 'ENOSPC');
  t.is(statusOf(foreign), 507);
  t.is(errnoCode(new HotblobError('ERR_HOTBLOB_LOCKED', '')), 'ERR_HOTBLOB_LOCKED');
});

test('what has no code has none', (t) => {
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
