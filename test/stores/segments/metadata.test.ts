import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import test from 'ava';
import { decodeEntry, encodeEntry, estimateIndexBytes, INLINE_BASE } from '../../../src/stores/segments/index-entry.js';
import { SegmentIndex } from '../../../src/stores/segments/segment-index.js';
import { type SegmentStoreReader, segmentStore } from '../../../src/stores/segments/store.js';
import { until } from '../../helpers/poll.js';
import { content, put, refusal, temporaryDirectory } from '../fixture.js';
import { assertBody, findingsIn } from './fixture.js';

const SAID = { contentType: 'text/x-artifact', headers: { 'x-artifact-tag': 'abc', 'x-artifact-duration': '12' } };
const DIGEST = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');
const PLACE = { segment: 7, offset: 1_234_567, length: 300_000, time: 1_790_000_000_000, digest: DIGEST };
const INLINE = { ...PLACE, offset: INLINE_BASE + 3, length: 4, inline: Buffer.from('body') };
/** As entries were written before there was metadata. */
const BEFORE = [
  [PLACE, '01000700000087d612000000e09304000000006c50c4a001000102030405060708090a0b0c0d0e0fed526e25'],
  [INLINE, '010107000000030000000080040000000000006c50c4a001000102030405060708090a0b0c0d0e0f53b31f62626f6479'],
] as const;

async function saidIn(store: SegmentStoreReader, key: string) {
  const { contentType, headers } = (await store.get(key)) ?? {};
  return { contentType, headers };
}

test('an entry without metadata is what it was before there was any', (t) => {
  for (const [entry, hex] of BEFORE) {
    t.is(encodeEntry('a/key', entry).toString('hex'), hex);
    t.like(decodeEntry('a/key', Buffer.from(hex, 'hex'), hex.length / 2), { ...entry, metadata: undefined });
  }
});

test('an entry with metadata, with and without a body in it', (t) => {
  for (const metadata of [Buffer.from('{}'), Buffer.alloc(4096, 'x')]) {
    for (const entry of [PLACE, INLINE, { ...INLINE, length: 0, inline: Buffer.of() }]) {
      const described = { ...entry, metadata };
      const bytes = encodeEntry('a/key', described);
      // The index hands out a buffer that is longer than the entry.
      t.like(decodeEntry('a/key', Buffer.concat([bytes, Buffer.alloc(100, 1)]), bytes.length), described);
      t.is(estimateIndexBytes('a/key', described) - estimateIndexBytes('a/key', entry), metadata.length + 2);
      for (const position of [1, 44, 45, 46, bytes.length - 1]) {
        const hurt = Buffer.from(bytes);
        hurt[position] = (hurt[position] ?? 0) ^ 2;
        t.is(decodeEntry('a/key', hurt, hurt.length), undefined, `byte ${position}`);
      }
    }
  }
});

test('what a later version has written is not taken for something else', (t) => {
  const bytes = encodeEntry('a/key', PLACE);
  // Flag 4, with the right check.
  const later = Buffer.from(bytes);
  later[1] = 4;
  later.writeUInt32LE(checkFor('a/key', later), 40);
  t.is(decodeEntry('a/key', later, later.length), undefined);
  later[1] = 0;
  later.writeUInt32LE(checkFor('a/key', later), 40);
  t.like(decodeEntry('a/key', later, later.length), PLACE, 'the check is right');
});

test('it is there for the next process, and for one that reads meanwhile', async (t) => {
  const dir = await temporaryDirectory(t);
  const lengths = [0, 10, 256, 257, 300_000];
  const store = await segmentStore(dir);
  for (const length of lengths) await put(store, `a/${length}`, content(length), { metadata: SAID });
  await put(store, 'plain', content(100));
  const reader = await segmentStore(dir, { readOnly: true });
  for (const opened of [store, reader]) {
    for (const length of lengths) {
      await assertBody(t, opened, `a/${length}`, content(length));
      t.deepEqual(await saidIn(opened, `a/${length}`), SAID);
    }
    t.false('headers' in ((await opened.get('plain')) ?? {}));
  }
  await reader.close();
  await store.close();
  const again = await segmentStore(dir, { verifyReads: true });
  for (const length of lengths) t.deepEqual(await saidIn(again, `a/${length}`), SAID);
  await again.close();
  t.like(await findingsIn(dir), { findings: [], artifacts: lengths.length + 1 });
});

test('it is copied forward with its body', async (t) => {
  const dir = await temporaryDirectory(t);
  const store = await segmentStore(dir, { segmentBytes: 100_000 });
  const at = async (key: string) => {
    const artifact = await store.get(key);
    return artifact?.kind === 'file' ? artifact.path : undefined;
  };
  await put(store, 'kept', content(20_000), { metadata: SAID });
  await put(store, 'kept small', 'x', { metadata: SAID });
  const before = await at('kept');
  for (let index = 0; index < 4; index++) await put(store, 'replaced', content(20_000, index));
  // The first segment is full by now, and wasteful.
  for (let index = 0; index < 5; index++) await put(store, 'replaced', content(20_000, index));
  await until('it has been copied', async () => {
    await put(store, 'another', content(1000));
    await setImmediate();
    return (await at('kept')) !== before;
  });
  await assertBody(t, store, 'kept', content(20_000));
  await assertBody(t, store, 'kept small', Buffer.from('x'));
  t.deepEqual(await saidIn(store, 'kept'), SAID);
  t.deepEqual(await saidIn(store, 'kept small'), SAID);
  await store.close();
  t.deepEqual((await findingsIn(dir)).findings, []);
});

test('it counts, also where the artifacts are tiny', async (t) => {
  const store = await segmentStore(await temporaryDirectory(t), { maxBytes: 200_000 });
  const metadata = { headers: { tag: 'x'.repeat(3000) } };
  for (let index = 0; index < 100; index++) await put(store, `k${index}`, 'x', { metadata });
  let left = 0;
  for (let index = 0; index < 100; index++) left += store.get(`k${index}`) === undefined ? 0 : 1;
  t.true(left > 10 && left < 66, `${left} are left, of 3 KB each`);
  t.not(store.get('k99'), undefined);
  await store.close();
});

test('too much of it is refused before any of the body is read', async (t) => {
  const store = await segmentStore(await temporaryDirectory(t));
  const metadata = { headers: { tag: 'x'.repeat(5000) } };
  await t.throwsAsync(put(store, 'a', 'x', { metadata }), refusal('ERR_HOTBLOB_METADATA_TOO_LARGE'));
  t.is(store.get('a'), undefined);
  await store.close();
});

test('an entry whose metadata is none is damaged: it is not served without, and verify finds it', async (t) => {
  const dir = await temporaryDirectory(t);
  const store = await segmentStore(dir);
  await put(store, 'a', content(1000), { metadata: SAID });
  await put(store, 'b', content(1000), { metadata: SAID });
  await store.close();
  const path = join(dir, 'index.mdb');
  const index = await SegmentIndex.open(path, { readOnly: false, durable: true });
  const entry = index.get('a');
  if (entry === undefined) return t.fail();
  await index.commit((to) => to.put('a', { ...entry, metadata: Buffer.from('{"t":') }));
  await index.close();
  const { findings } = await findingsIn(dir);
  t.is(findings.length, 1);
  t.like(findings[0], { kind: 'entry', key: 'a', file: path });
  const again = await segmentStore(dir);
  t.throws(() => again.get('a'), refusal('ERR_HOTBLOB_CORRUPT', /metadata of 'a' .*index\.mdb/));
  t.deepEqual(await saidIn(again, 'b'), SAID);
  await put(again, 'a', content(1000));
  await assertBody(t, again, 'a', content(1000));
  await again.close();
});

/** FNV-1a of an entry without its check (bytes 40 to 43), and of its key. */
function checkFor(key: string, bytes: Buffer): number {
  const input = [...bytes.subarray(0, 40), ...bytes.subarray(44), ...Buffer.from(key)];
  return input.reduce((hash, byte) => Math.imul(hash ^ byte, 0x01000193), 0x811c9dc5) >>> 0;
}
