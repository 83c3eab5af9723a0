import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { isSegmentStore } from '../../../src/stores/segments/layout.js';
import { segmentStore } from '../../../src/stores/segments/store.js';
import { temporaryDirectory } from '../fixture.js';

test('isSegmentStore accepts only a directory that contains a store', async (t) => {
  const dir = await temporaryDirectory(t);
  await (await segmentStore(join(dir, 'store'))).close();
  await mkdir(join(dir, 'empty'));
  await mkdir(join(dir, 'incomplete', 'segments'), { recursive: true });
  await writeFile(join(dir, 'file'), '');
  t.true(await isSegmentStore(join(dir, 'store')));
  for (const name of ['empty', 'incomplete', 'file', 'missing', 'file/below']) {
    t.false(await isSegmentStore(join(dir, name)), name);
  }
});

test('isSegmentStore rejects with system errors that say nothing about the content', async (t) => {
  const dir = await temporaryDirectory(t);
  await t.throwsAsync(isSegmentStore(join(dir, 'x'.repeat(300))), { code: 'ENAMETOOLONG' });
});
