import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import test from 'ava';
import { decodeEntry, encodeEntry, INLINE_BASE } from '../../../src/stores/segments/index-entry.js';
import { SegmentIndex } from '../../../src/stores/segments/segment-index.js';
import { type SegmentStoreReader, segmentStore } from '../../../src/stores/segments/store.js';
import { PRIVATE } from '../../../src/util/permissions.js';
import { until } from '../../helpers/poll.js';
import { content, put, refusal, temporaryDirectory } from '../fixture.js';
import { assertBody, findingsIn } from './fixture.js';

const METADATA = { contentType: 'text/x-artifact', headers: { 'x-artifact-tag': 'abc', 'x-artifact-duration': '12' } };
const DIGEST = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');
const FILE_ENTRY = { segment: 7, offset: 1_234_567, length: 300_000, time: 1_790_000_000_000, digest: DIGEST };
const INLINE_ENTRY = { ...FILE_ENTRY, offset: INLINE_BASE + 3, length: 4, inline: Buffer.from('body') };
/** Entries as encoded by the version that did not support metadata. */
const ENTRIES_WITHOUT_METADATA = [
  [FILE_ENTRY, '01000700000087d612000000e09304000000006c50c4a001000102030405060708090a0b0c0d0e0fed526e25'],
  [INLINE_ENTRY, '010107000000030000000080040000000000006c50c4a001000102030405060708090a0b0c0d0e0f53b31f62626f6479'],
] as const;

async function metadataOf(store: SegmentStoreReader, key: string) {
  const { contentType, headers } = (await store.get(key)) ?? {};
  return { contentType, headers };
}

test('an entry without metadata has the format of the version before metadata', (t) => {
  for (const [entry, hex] of ENTRIES_WITHOUT_METADATA) {
    t.is(encodeEntry('a/key', entry).toString('hex'), hex);
    t.like(decodeEntry('a/key', Buffer.from(hex, 'hex'), hex.length / 2), { ...entry, metadata: undefined });
  }
});

test('an entry with metadata is decoded as encoded, and any altered byte is detected', (t) => {
  for (const metadata of [Buffer.from('{}'), Buffer.alloc(4096, 'x')]) {
    for (const entry of [FILE_ENTRY, INLINE_ENTRY, { ...INLINE_ENTRY, length: 0, inline: Buffer.of() }]) {
      const described = { ...entry, metadata };
      const bytes = encodeEntry('a/key', described);
      // lmdb returns a buffer that is longer than the entry.
      t.like(decodeEntry('a/key', Buffer.concat([bytes, Buffer.alloc(100, 1)]), bytes.length), described);
      for (const position of [1, 44, 45, 46, bytes.length - 1]) {
        const altered = Buffer.from(bytes);
        altered[position] = (altered[position] ?? 0) ^ 2;
        t.is(decodeEntry('a/key', altered, altered.length), undefined, `byte ${position}`);
      }
    }
  }
});

test('an entry with an unknown flag is not decoded', (t) => {
  const bytes = encodeEntry('a/key', FILE_ENTRY);
  // Flag 4 with a valid checksum.
  const later = Buffer.from(bytes);
  later[1] = 4;
  later.writeUInt32LE(checksumOf('a/key', later), 40);
  t.is(decodeEntry('a/key', later, later.length), undefined);
  later[1] = 0;
  later.writeUInt32LE(checksumOf('a/key', later), 40);
  t.like(decodeEntry('a/key', later, later.length), FILE_ENTRY, 'the checksum is valid');
});

test('metadata is returned by the writer, by a concurrent reader and after reopening', async (t) => {
  const dir = await temporaryDirectory(t);
  const lengths = [0, 10, 256, 257, 300_000];
  const store = await segmentStore(dir);
  for (const length of lengths) await put(store, `a/${length}`, content(length), { metadata: METADATA });
  await put(store, 'plain', content(100));
  const reader = await segmentStore(dir, { readOnly: true });
  for (const opened of [store, reader]) {
    for (const length of lengths) {
      await assertBody(t, opened, `a/${length}`, content(length));
      t.deepEqual(await metadataOf(opened, `a/${length}`), METADATA);
    }
    t.false('headers' in ((await opened.get('plain')) ?? {}));
  }
  await reader.close();
  await store.close();
  const again = await segmentStore(dir, { verifyReads: true });
  for (const length of lengths) t.deepEqual(await metadataOf(again, `a/${length}`), METADATA);
  await again.close();
  t.like(await findingsIn(dir), { findings: [], artifacts: lengths.length + 1 });
});

test('compaction copies the metadata with the body', async (t) => {
  const dir = await temporaryDirectory(t);
  const store = await segmentStore(dir, { segmentBytes: 100_000 });
  const pathOf = async (key: string) => {
    const artifact = await store.get(key);
    return artifact?.kind === 'file' ? artifact.path : undefined;
  };
  await put(store, 'kept', content(20_000), { metadata: METADATA });
  await put(store, 'kept small', 'x', { metadata: METADATA });
  const before = await pathOf('kept');
  for (let index = 0; index < 4; index++) await put(store, 'replaced', content(20_000, index));
  // The first segment is full, and most of its bytes are dead.
  for (let index = 0; index < 5; index++) await put(store, 'replaced', content(20_000, index));
  await until('the body has been copied', async () => {
    await put(store, 'another', content(1000));
    await setImmediate();
    return (await pathOf('kept')) !== before;
  });
  await assertBody(t, store, 'kept', content(20_000));
  await assertBody(t, store, 'kept small', Buffer.from('x'));
  t.deepEqual(await metadataOf(store, 'kept'), METADATA);
  t.deepEqual(await metadataOf(store, 'kept small'), METADATA);
  await store.close();
  t.deepEqual((await findingsIn(dir)).findings, []);
});

test('metadata counts towards maxBytes', async (t) => {
  const store = await segmentStore(await temporaryDirectory(t), { maxBytes: 200_000 });
  const metadata = { headers: { 'x-artifact-tag': 'x'.repeat(3000) } };
  for (let index = 0; index < 100; index++) await put(store, `k${index}`, 'x', { metadata });
  let stored = 0;
  for (let index = 0; index < 100; index++) stored += store.get(`k${index}`) === undefined ? 0 : 1;
  t.true(stored > 10 && stored < 66, `${stored} are stored, of 3 KB each`);
  t.not(store.get('k99'), undefined);
  await store.close();
});

test('too much metadata is refused and nothing is stored', async (t) => {
  const store = await segmentStore(await temporaryDirectory(t));
  const metadata = { headers: { 'x-artifact-tag': 'x'.repeat(5000) } };
  await t.throwsAsync(put(store, 'a', 'x', { metadata }), refusal('ERR_HOTBLOB_METADATA_TOO_LARGE'));
  t.is(store.get('a'), undefined);
  await store.close();
});

test('an entry with undecodable metadata is refused as corrupt and found by verifySegments', async (t) => {
  const dir = await temporaryDirectory(t);
  const store = await segmentStore(dir);
  await put(store, 'a', content(1000), { metadata: METADATA });
  await put(store, 'b', content(1000), { metadata: METADATA });
  await store.close();
  const path = join(dir, 'index.mdb');
  const index = await SegmentIndex.open(path, { readOnly: false, durable: true, permissions: PRIVATE });
  const entry = index.get('a');
  if (entry === undefined) return t.fail();
  await index.commit((transaction) => transaction.put('a', { ...entry, metadata: Buffer.from('{"t":') }));
  await index.close();
  const { findings } = await findingsIn(dir);
  t.is(findings.length, 1);
  t.like(findings[0], { kind: 'entry', key: 'a', file: path });
  const again = await segmentStore(dir);
  t.is(again.get('a'), undefined);
  t.is(again.stats().corrupt, 1);
  t.deepEqual(await metadataOf(again, 'b'), METADATA);
  await put(again, 'a', content(1000));
  await assertBody(t, again, 'a', content(1000));
  await again.close();
});

/** FNV-1a of an entry without its checksum (bytes 40 to 43), followed by its key. */
function checksumOf(key: string, bytes: Buffer): number {
  const input = [...bytes.subarray(0, 40), ...bytes.subarray(44), ...Buffer.from(key)];
  return input.reduce((hash, byte) => Math.imul(hash ^ byte, 0x01000193), 0x811c9dc5) >>> 0;
}
