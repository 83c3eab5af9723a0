import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import test from 'ava';
import { type SegmentStore, type SegmentStoreReader, segmentStore } from '../../../src/stores/segments/store.js';
import { content, put, refusal, temporaryDirectory } from '../fixture.js';
import { assertBody, findingsIn } from './fixture.js';

test('invalid options and unusable directories are refused', async (t) => {
  const dir = await temporaryDirectory(t);
  const invalid = (message: RegExp) => refusal('ERR_HOTBLOB_INVALID_OPTION', message);
  for (const [options, message] of [
    [{ maxBytes: -1 }, /maxBytes/],
    [{ segmentBytes: 0 }, /segmentBytes/],
    [{ segmentBytes: 2 ** 41 }, /segmentBytes/],
    [{ durability: 'maybe' }, /durability: expected 'fsync', 'none'/],
    [{ readOnly: 1 }, /readOnly/],
    [{ maxSize: 1 }, /maxSize/],
  ] as const) {
    // `never`: invalid options, as a caller without types may pass them.
    await t.throwsAsync(segmentStore(join(dir, 'x'), options as never), invalid(message));
  }
  await t.throwsAsync(segmentStore(''), invalid(/^dir/));
  await writeFile(join(dir, 'file'), '');
  await t.throwsAsync(segmentStore(join(dir, 'file')), invalid(/expected a directory, received a file/));
  await t.throwsAsync(segmentStore(join(dir, 'none'), { readOnly: true }), invalid(/received none at .*none'/));
  await mkdir(join(dir, 'foreign', '.hotblob'), { recursive: true });
  await t.throwsAsync(segmentStore(join(dir, 'foreign')), invalid(/received '.hotblob'/));
});

test('durability none: after close, everything is stored', async (t) => {
  const dir = await temporaryDirectory(t);
  const store = await segmentStore(dir, { durability: 'none' });
  await put(store, 'a', content(1000));
  await put(store, 'b', 'x');
  await store.close();
  t.false((await readdir(dir)).includes('unsynced'));
  const again = await segmentStore(dir);
  await assertBody(t, again, 'a', content(1000));
  await assertBody(t, again, 'b', Buffer.from('x'));
  await again.close();
});

test('durability none: after a crash of the system, the store starts empty', async (t) => {
  const dir = await temporaryDirectory(t);
  const store = await segmentStore(dir, { durability: 'none' });
  await put(store, 'a', content(1000));
  const marker = await readFile(join(dir, 'unsynced'), 'latin1');
  await store.close();
  await writeFile(join(dir, 'unsynced'), marker);
  const sameBoot = await segmentStore(dir, { durability: 'none' });
  await assertBody(t, sameBoot, 'a', content(1000));
  await sameBoot.close();
  await writeFile(join(dir, 'unsynced'), 'another boot');
  const reading = segmentStore(dir, { readOnly: true });
  await t.throwsAsync(reading, { code: 'ERR_HOTBLOB_CORRUPT', message: /open the store once for writing/ });
  const later = await segmentStore(dir);
  t.is(later.get('a'), undefined);
  await put(later, 'a', content(2000));
  await assertBody(t, later, 'a', content(2000));
  await later.close();
  t.like(await findingsIn(dir), { findings: [], artifacts: 1 });
});

test('the types of put and delete follow the option readOnly', async (t) => {
  const dir = await temporaryDirectory(t);
  const writable: SegmentStore = await segmentStore(dir, { readOnly: false });
  await writable.put('a', Readable.from(['x']));
  await writable.close();

  const readOnly = await segmentStore(dir, { readOnly: true });
  // @ts-expect-error: a read-only store is not writable
  const assigned: SegmentStore = readOnly;
  t.false('put' in assigned);
  t.false('delete' in assigned);
  await readOnly.close();

  for (const flag of [true, false]) {
    const store: SegmentStoreReader = await segmentStore(dir, { readOnly: flag });
    // @ts-expect-error: `delete` may be absent
    const remove = (): Promise<boolean> => store.delete('none');
    if (flag) t.throws(remove, { instanceOf: TypeError });
    else t.false(await remove());
    const result = await store.put?.('b', Readable.from(['y']));
    t.is(result?.created, flag ? undefined : true);
    await store.close();
  }
});
