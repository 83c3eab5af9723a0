import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import test from 'ava';
import { until } from '../../helpers/poll.js';
import { bodyOf, content, never, put, refusal } from '../fixture.js';
import {
  another,
  assertBytes,
  deferred,
  find,
  KIB,
  MIB,
  md5Tag,
  PART,
  read,
  type Site,
  serviceFor,
} from './fixture.js';

const site = serviceFor(test);

const failure = new Error('the body has failed');

test('up to the size of a part it is one request, beside the question what was there', async (t) => {
  const { store, wire, keys } = await site(t, { partBytes: PART });
  for (const [length, announced] of [
    [0, true],
    [0, false],
    [1000, true],
    [300_000, false],
    [PART, true],
    [PART, false],
  ] as const) {
    const bytes = content(length, announced ? 1 : 0);
    wire.clear();
    const result = await put(store, 'a', bytes, announced ? {} : { size: undefined });
    t.deepEqual(result, { created: length === 0 && announced, etag: md5Tag(bytes) });
    t.deepEqual(wire.asked.sort(), ['HEAD', 'PUT']);
    const headers = wire.seen.find(({ what }) => what === 'PUT')?.headers;
    t.is(headers?.['x-amz-content-sha256'], createHash('sha256').update(bytes).digest('hex'));
    t.is(headers?.['content-length'], `${length}`);
    t.is(headers?.expect, undefined);
    t.is(headers?.['x-amz-checksum-crc32'], undefined);
    assertBytes(t, await read(await find(store, 'a')), bytes);
  }
  t.deepEqual(await keys(), ['a']);
});

test('the default size of a part is 16 MiB', async (t) => {
  const { store, wire } = await site(t);
  await put(store, 'a', content(16 * MIB));
  t.deepEqual(wire.asked.sort(), ['HEAD', 'PUT']);
  wire.clear();
  const bytes = content(16 * MIB + 1);
  await put(store, 'a', bytes);
  t.deepEqual(wire.asked.sort(), ['HEAD', 'POST uploadId', 'POST uploads', 'PUT part 1', 'PUT part 2']);
  t.deepEqual(partBytes(wire).sort(), [1, 16 * MIB]);
  assertBytes(t, await read(await find(store, 'a')), bytes);
});

test('what is larger goes up in parts, whatever the chunks of the body', async (t) => {
  const { store, wire } = await site(t, { partBytes: PART });
  for (const [length, chunkBytes, parts] of [
    [2 * PART, 64 * KIB, [PART, PART]],
    [2 * PART + 1, 7_000_001, [PART, PART, 1]],
    [3 * PART - 1, 16 * MIB, [PART, PART, PART - 1]],
    [PART + 100, 1_000_003, [PART, 100]],
  ] as const) {
    const bytes = content(length);
    wire.clear();
    const { etag } = await store.put('a', inChunks(bytes, chunkBytes), { signal: never() });
    assertBytes(t, await read(await find(store, 'a')), bytes);
    t.is((await find(store, 'a')).etag, etag);
    t.deepEqual(
      wire.seen
        .filter(isPart)
        .map(({ what, bodyBytes }) => [what, bodyBytes])
        .sort(),
      parts.map((part, index) => [`PUT part ${index + 1}`, part]),
    );
    const hashes = wire.seen.filter(isPart).sort((a, b) => (a.what < b.what ? -1 : 1));
    for (const [index, { headers }] of hashes.entries()) {
      const piece = bytes.subarray(index * PART, (index + 1) * PART);
      t.is(headers['x-amz-content-sha256'], createHash('sha256').update(piece).digest('hex'));
    }
  }
});

test('what is cut off on its way up is sent again', async (t) => {
  const { store, wire } = await site(t, { partBytes: PART });
  for (const [length, what] of [
    [PART, 'PUT'],
    [3 * PART, 'PUT part 2'],
  ] as const) {
    for (const fault of [
      { cutRequestAt: 1_000_000 },
      { answer: 503, code: 'SlowDown' },
      { loseAnswer: true },
    ] as const) {
      let faults = 0;
      wire.fault = (seen) => (seen.what === what && ++faults <= 2 ? fault : undefined);
      wire.clear();
      const bytes = content(length, faults);
      await put(store, 'a', bytes);
      t.is(wire.asked.filter((each) => each === what).length, 3);
      assertBytes(t, await read(await find(store, 'a')), bytes);
    }
  }
});

test('a body may take longer than the service may be silent', async (t) => {
  const here = await site(t);
  const store = await another(t, here, { requestTimeoutMs: 1500, maxAttempts: 1 });
  here.wire.fault = ({ what }) => (what === 'PUT' ? { slowRequestMs: 120 } : undefined);
  const before = performance.now();
  await put(store, 'a', content(16 * MIB));
  t.true(performance.now() - before > 1700);
  t.is((await find(store, 'a')).size, 16 * MIB);
});

test('no more is read than the parts that may be in memory', async (t) => {
  const { store, wire, keys } = await site(t, { partBytes: PART });
  const { promise: held, resolve: release } = deferred();
  wire.fault = ({ what }) => (what.startsWith('PUT part') ? { after: held } : undefined);
  const chunk = content(256 * KIB);
  let given = 0;
  const body = new Readable({
    highWaterMark: 1,
    read() {
      if (given === 200 * chunk.byteLength) this.push(null);
      else {
        given += chunk.byteLength;
        this.push(chunk);
      }
    },
  });
  const upload = store.put('a', body, { signal: never() });
  await until('two parts are held', () => wire.asked.filter((what) => what.startsWith('PUT part')).length === 2);
  await until('the third is full', () => given >= 3 * PART);
  await new Promise((resolve) => setTimeout(resolve, 100)); // it would go on now
  t.true(given <= 3 * PART + 2 * chunk.byteLength, `${given} bytes`);
  t.is(wire.asked.filter((what) => what.startsWith('PUT part')).length, 2);
  release();
  t.true((await upload).created);
  t.is((await find(store, 'a')).size, 200 * chunk.byteLength);
  t.deepEqual(await keys(), ['a']);
});

test('uploads share their memory: who finds none waits, and not for ever', async (t) => {
  const here = await site(t);
  const { wire } = here;
  const options = { partBytes: PART, uploadBytes: PART };
  const store = await another(t, here, options);
  const first = bodyOf([content(1000)]);
  const uploading = store.put('first', first, { signal: never() });
  await until('the first has begun', () => wire.seen.some(({ key, isOver }) => key.endsWith('first') && isOver));
  const second = put(store, 'second', content(1000), { size: undefined });
  const controller = new AbortController();
  const third = put(store, 'third', content(1000), { signal: controller.signal });
  await until('all have asked', () => wire.asked.filter((what) => what === 'HEAD').length === 3);
  controller.abort();
  await t.throwsAsync(third, { any: true, name: 'AbortError' });
  t.false(wire.asked.includes('PUT'));
  first.push(null);
  await uploading;
  await second;

  // Several parts of one upload, with memory for one of them.
  const bytes = content(3 * PART + 5);
  await put(store, 'large', bytes, { size: undefined });
  assertBytes(t, await read(await find(store, 'large')), bytes);

  const hasty = await another(t, here, { ...options, requestTimeoutMs: 2000 });
  const silent = bodyOf([content(1000)]);
  const blocking = hasty.put('blocking', silent, { signal: never() });
  await until('it has begun', () => wire.seen.some(({ key, isOver }) => key.endsWith('blocking') && isOver));
  await t.throwsAsync(put(hasty, 'a', 'x', { size: undefined }), refusal('ERR_HOTBLOB_OVERLOADED', /in memory/));
  silent.destroy(failure);
  await t.throwsAsync(blocking, { is: failure });
  await put(hasty, 'a', 'x', { size: undefined });
});

test('delete says whether there was something', async (t) => {
  const { store, wire, keys } = await site(t);
  await put(store, 'a/b', 'x');
  await put(store, 'a/c', 'x');
  wire.clear();
  t.true(await store.delete('a/b'));
  t.deepEqual(wire.asked, ['HEAD', 'DELETE']);
  wire.clear();
  t.false(await store.delete('a/b'));
  t.deepEqual(wire.asked, ['HEAD']);
  t.is(await store.get('a/b'), undefined);
  t.deepEqual(await keys(), ['a/c']);
});

test('closing waits for uploads; then the store takes and gives nothing', async (t) => {
  const { store, wire, keys } = await site(t);
  const { promise: held, resolve: release } = deferred();
  wire.fault = ({ what }) => (what === 'PUT' ? { after: held } : undefined);
  const upload = put(store, 'a', 'x');
  await until('it is on its way', () => wire.asked.includes('PUT'));
  let isClosed = false;
  const closing = store.close().then(() => {
    isClosed = true;
  });
  for (const task of [() => put(store, 'b', 'x'), () => store.get('a'), () => store.delete('a')]) {
    await t.throwsAsync(task, refusal('ERR_HOTBLOB_OVERLOADED', /closed/));
  }
  await new Promise(setImmediate);
  t.false(isClosed);
  release();
  await closing;
  t.true((await upload).created);
  t.deepEqual(await keys(), ['a']);
});

function isPart({ what }: { readonly what: string }): boolean {
  return what.startsWith('PUT part');
}

function partBytes(wire: Site['wire']): number[] {
  return wire.seen.filter(isPart).map(({ bodyBytes }) => bodyBytes);
}

function inChunks(bytes: Buffer, chunkBytes: number): Readable {
  const chunks: Buffer[] = [];
  for (let start = 0; start < bytes.byteLength; start += chunkBytes) {
    chunks.push(bytes.subarray(start, start + chunkBytes));
  }
  return Readable.from(chunks);
}
