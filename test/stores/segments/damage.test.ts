import { copyFile, cp, open, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { segmentStore } from '../../../src/stores/segments/store.js';
import { content, corruptEvents, never, put, refusal, temporaryDirectory } from '../fixture.js';
import { assertBody, findingsIn, read } from './fixture.js';

const CORRUPT = (message: RegExp) => ({ name: 'HotblobError', code: 'ERR_HOTBLOB_CORRUPT', message });
const PAGE = 4096;

/** Creates a store of 300 artifacts in two segments, 30 of them inline, closes it and returns its directory. */
async function createStore(t: ExecutionContext): Promise<string> {
  const dir = join(await temporaryDirectory(t), 'store');
  const store = await segmentStore(dir, { segmentBytes: 500_000 });
  await Promise.all(
    Array.from({ length: 300 }, (_, index) => put(store, `key/${index}`, content(index < 30 ? 100 : 3000, index))),
  );
  await store.close();
  return dir;
}

async function flipBit(path: string, position: number): Promise<void> {
  const handle = await open(path, 'r+');
  const byte = Buffer.alloc(1);
  await handle.read(byte, 0, 1, position);
  byte[0] = (byte[0] ?? 0) ^ 0x10;
  await handle.write(byte, 0, 1, position);
  await handle.close();
}

test('an altered segment byte is found by verifySegments and is a miss for verified reads; other artifacts are served', async (t) => {
  const dir = await createStore(t);
  const events = corruptEvents(t, dir);
  const path = join(dir, 'segments', '0000000001.segment');
  await flipBit(path, 3000 * 7 + 11);
  const { findings, artifacts } = await findingsIn(dir);
  t.is(artifacts, 300);
  t.is(findings.length, 1);
  const [finding] = findings;
  t.like(finding, { kind: 'altered', file: path });
  const key = finding?.key ?? '';
  t.is(finding?.message, `the body of '${key}' is corrupt: its checksum differs from that of the upload: ${path}`);

  const reader = await segmentStore(dir, { verifyReads: true, readOnly: true });
  for (let attempt = 0; attempt < 2; attempt++) t.is(await reader.get(key), undefined);
  t.is(reader.stats().corrupt, 1);
  await reader.close();
  t.deepEqual(events.splice(0), [`${key}: ${finding?.message}`]);
  const store = await segmentStore(dir, { verifyReads: true });
  for (let attempt = 0; attempt < 2; attempt++) t.is(await store.get(key), undefined);
  t.like(store.stats(), { artifacts: 299, corrupt: 1 });
  t.is(events.splice(0).length, 1);
  for (let index = 0; index < 300; index++) {
    if (`key/${index}` !== key) await assertBody(t, store, `key/${index}`, content(index < 30 ? 100 : 3000, index));
  }
  t.is(await store.get('none'), undefined);
  await put(store, key, content(4000));
  await assertBody(t, store, key, content(4000));
  await store.close();
  t.deepEqual((await findingsIn(dir)).findings, []);
});

test('concurrent verified reads of a corrupt artifact count and report it once', async (t) => {
  const dir = await createStore(t);
  const events = corruptEvents(t, dir);
  await flipBit(join(dir, 'segments', '0000000001.segment'), 3000 * 7 + 11);
  const key = (await findingsIn(dir)).findings[0]?.key ?? '';
  const store = await segmentStore(dir, { verifyReads: true });
  const reads: unknown[] = [];
  let isRemoved = false;
  while (!isRemoved) {
    const read = Promise.resolve(store.get(key)).then((artifact) => {
      isRemoved = true;
      return artifact;
    });
    reads.push(read);
    await nextTurn();
  }
  t.deepEqual(new Set(await Promise.all(reads)), new Set([undefined]));
  t.is(store.stats().corrupt, 1);
  t.is(events.length, 1);
  await store.close();
});

test('an upload with ifAbsent replaces a body that is corrupt or beyond the end of its segment', async (t) => {
  for (const verifyReads of [true, false]) {
    const dir = await createStore(t);
    const path = join(dir, 'segments', '0000000001.segment');
    if (verifyReads) await flipBit(path, 3000 * 7 + 11);
    else await truncate(path, 100_000);
    const key = (await findingsIn(dir)).findings[0]?.key ?? '';
    const store = await segmentStore(dir, { verifyReads });
    await put(store, key, content(4000), { ifAbsent: true });
    await assertBody(t, store, key, content(4000));
    await t.throwsAsync(put(store, key, content(4000), { ifAbsent: true }), refusal('ERR_HOTBLOB_EXISTS'));
    await store.close();
  }
});

test('an abort ends a verified read', async (t) => {
  const dir = await createStore(t);
  const store = await segmentStore(dir, { verifyReads: true });
  const reason = new Error('the client disconnected');
  await t.throwsAsync(async () => store.get('key/200', { signal: AbortSignal.abort(reason) }), { is: reason });
  t.not(await store.get('key/200', { signal: never() }), undefined);
  await store.close();
});

test('uploads are never written into the locations of bodies that a truncated segment lost', async (t) => {
  const dir = await createStore(t);
  const path = join(dir, 'segments', '0000000001.segment');
  await truncate(path, 100_000);
  const { findings } = await findingsIn(dir);
  t.true(findings.length > 100);
  t.true(findings.every(({ kind, file }) => kind === 'truncated' && file === path));
  const lostKeys = findings.map(({ key = '' }) => key);
  const store = await segmentStore(dir, { segmentBytes: 500_000 });
  for (let index = 0; index < 100; index++) await put(store, `new/${index}`, content(3000, index + 1));
  for (const key of lostKeys) t.is(store.get(key), undefined);
  t.is(store.stats().corrupt, lostKeys.length);
  await store.close();
  t.like(await findingsIn(dir), { findings: [], artifacts: 400 - lostKeys.length });
});

test('artifacts of a missing segment are misses, and an upload replaces them', async (t) => {
  const dir = await createStore(t);
  await rm(join(dir, 'segments', '0000000001.segment'));
  const { findings } = await findingsIn(dir);
  t.true(findings.length > 100 && findings.every(({ kind }) => kind === 'missing'));
  const store = await segmentStore(dir, { verifyReads: true });
  for (const { key = '' } of findings) t.is(await store.get(key), undefined);
  for (const { key = '' } of findings) await put(store, key, content(1000));
  await store.close();
  t.deepEqual((await findingsIn(dir)).findings, []);
});

test('a corrupt index never crashes the process: it is refused by name, or its intact entries are served', async (t) => {
  const dir = await createStore(t);
  const index = join(dir, 'index.mdb');
  const original = await readFile(index);
  const pages = original.byteLength / PAGE;
  const copy = `${dir}-copy`;
  t.teardown(() => rm(copy, { recursive: true, force: true }));
  let refused = 0;
  const damage = fc.record({
    kind: fc.constantFrom('zeros', 'noise', 'bits', 'truncated'),
    page: fc.nat({ max: pages - 1 }),
    noise: fc.uint8Array({ minLength: 20, maxLength: 20 }),
    positions: fc.array(fc.nat({ max: PAGE - 1 }), { minLength: 1, maxLength: 20 }),
  });
  await fc.assert(
    fc.asyncProperty(damage, async ({ kind, page, noise, positions }) => {
      const bytes = Buffer.from(original);
      const target = bytes.subarray(page * PAGE, (page + 1) * PAGE);
      if (kind === 'zeros') target.fill(0);
      if (kind === 'noise') target.fill(noise);
      if (kind === 'bits') for (const position of positions) target[position] = (target[position] ?? 0) ^ 0x20;
      await rm(copy, { recursive: true, force: true });
      await cp(dir, copy, { recursive: true });
      await writeFile(
        join(copy, 'index.mdb'),
        kind === 'truncated' ? bytes.subarray(0, Math.max(1, page * PAGE)) : bytes,
      );
      const { findings } = await findingsIn(copy);
      for (const { file } of findings) t.is(file, join(copy, 'index.mdb'));
      try {
        const store = await segmentStore(copy);
        for (let number = 0; number < 300; number++) {
          try {
            const found = await read(store, `key/${number}`);
            if (found !== undefined) t.true(found.equals(content(number < 30 ? 100 : 3000, number)));
          } catch (error) {
            t.like(error, { code: 'ERR_HOTBLOB_CORRUPT' });
          }
        }
        await store.close();
      } catch (error) {
        refused++;
        t.like(error, { name: 'HotblobError', code: 'ERR_HOTBLOB_CORRUPT' });
        t.regex((error as Error).message, /index\.mdb$/);
        t.true(findings.length > 0);
      }
    }),
    { numRuns: 60 },
  );
  t.true(refused > 5);
});

test('an invalid index or writer lock file is refused and not modified', async (t) => {
  for (const name of ['index.mdb', 'writer.mdb']) {
    for (const bytes of ['x', 'x'.repeat(10_000)]) {
      const dir = await createStore(t);
      await writeFile(join(dir, name), bytes);
      await t.throwsAsync(segmentStore(dir), CORRUPT(new RegExp(name)));
      await copyFile(join(dir, name), join(dir, 'copy'));
      t.is(await readFile(join(dir, 'copy'), 'latin1'), bytes);
    }
  }
});

test('verifySegments refuses a directory without a store, and finds no fault in an empty store', async (t) => {
  const dir = await temporaryDirectory(t);
  await t.throwsAsync(findingsIn(join(dir, 'none')), refusal('ERR_HOTBLOB_INVALID_OPTION', /received none/));
  await (await segmentStore(join(dir, 'empty'))).close();
  t.deepEqual(await findingsIn(join(dir, 'empty')), { findings: [], artifacts: 0, bytes: 0 });
});

test('opening removes segments that the index does not know, and keeps files of others', async (t) => {
  const dir = await createStore(t);
  for (const name of ['0000000077.segment', 'notes.txt']) await writeFile(join(dir, 'segments', name), 'x');
  const store = await segmentStore(dir);
  t.deepEqual((await readdir(join(dir, 'segments'))).sort(), ['0000000001.segment', '0000000002.segment', 'notes.txt']);
  await store.close();
});
