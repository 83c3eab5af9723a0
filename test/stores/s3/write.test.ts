import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import test from 'ava';
import { until } from '../../helpers/poll.js';
import { bodyOf, content, never, put, refusal } from '../fixture.js';
import {
  assertBytes,
  createSecondStore,
  deferred,
  getArtifact,
  KIB,
  MIB,
  md5Tag,
  PART,
  read,
  type Setup,
  setupFor,
} from './fixture.js';

const setup = setupFor(test);

const failure = new Error('the body has failed');

test('stores a body of up to one part with one PUT request, besides the HEAD request', async (t) => {
  const { store, proxy, keys } = await setup(t, { partBytes: PART });
  for (const [length, announced] of [
    [0, true],
    [0, false],
    [1000, true],
    [300_000, false],
    [PART, true],
    [PART, false],
  ] as const) {
    const bytes = content(length, announced ? 1 : 0);
    proxy.clear();
    const result = await put(store, 'a', bytes, announced ? {} : { size: undefined });
    t.deepEqual(result, { created: length === 0 && announced, etag: md5Tag(bytes) });
    t.deepEqual(proxy.operations.sort(), ['HEAD', 'PUT']);
    const headers = proxy.requests.find(({ operation }) => operation === 'PUT')?.headers;
    t.is(headers?.['x-amz-content-sha256'], createHash('sha256').update(bytes).digest('hex'));
    t.is(headers?.['content-length'], `${length}`);
    t.is(headers?.expect, undefined);
    t.is(headers?.['x-amz-checksum-crc32'], undefined);
    assertBytes(t, await read(await getArtifact(store, 'a')), bytes);
  }
  t.deepEqual(await keys(), ['a']);
});

test('the default part size is 16 MiB', async (t) => {
  const { store, proxy } = await setup(t);
  await put(store, 'a', content(16 * MIB));
  t.deepEqual(proxy.operations.sort(), ['HEAD', 'PUT']);
  proxy.clear();
  const bytes = content(16 * MIB + 1);
  await put(store, 'a', bytes);
  t.deepEqual(proxy.operations.sort(), ['HEAD', 'POST uploadId', 'POST uploads', 'PUT part 1', 'PUT part 2']);
  t.deepEqual(partBytes(proxy).sort(), [1, 16 * MIB]);
  assertBytes(t, await read(await getArtifact(store, 'a')), bytes);
});

test('stores a larger body as a multipart upload, whatever the size of its chunks', async (t) => {
  const { store, proxy } = await setup(t, { partBytes: PART });
  for (const [length, chunkBytes, parts] of [
    [2 * PART, 64 * KIB, [PART, PART]],
    [2 * PART + 1, 7_000_001, [PART, PART, 1]],
    [3 * PART - 1, 16 * MIB, [PART, PART, PART - 1]],
    [PART + 100, 1_000_003, [PART, 100]],
  ] as const) {
    const bytes = content(length);
    proxy.clear();
    const { etag } = await store.put('a', readInChunks(bytes, chunkBytes), { signal: never() });
    assertBytes(t, await read(await getArtifact(store, 'a')), bytes);
    t.is((await getArtifact(store, 'a')).etag, etag);
    t.deepEqual(
      proxy.requests
        .filter(isPart)
        .map(({ operation, bodyBytes }) => [operation, bodyBytes])
        .sort(),
      parts.map((part, index) => [`PUT part ${index + 1}`, part]),
    );
    const hashes = proxy.requests.filter(isPart).sort((a, b) => (a.operation < b.operation ? -1 : 1));
    for (const [index, { headers }] of hashes.entries()) {
      const piece = bytes.subarray(index * PART, (index + 1) * PART);
      t.is(headers['x-amz-content-sha256'], createHash('sha256').update(piece).digest('hex'));
    }
  }
});

test('sends a failed request again', async (t) => {
  const { store, proxy } = await setup(t, { partBytes: PART });
  for (const [length, operation] of [
    [PART, 'PUT'],
    [3 * PART, 'PUT part 2'],
  ] as const) {
    for (const fault of [
      { resetRequestAt: 1_000_000 },
      { status: 503, code: 'SlowDown' },
      { loseResponse: true },
    ] as const) {
      let faults = 0;
      proxy.fault = (request) => (request.operation === operation && ++faults <= 2 ? fault : undefined);
      proxy.clear();
      const bytes = content(length, faults);
      await put(store, 'a', bytes);
      t.is(proxy.operations.filter((each) => each === operation).length, 3);
      assertBytes(t, await read(await getArtifact(store, 'a')), bytes);
    }
  }
});

test('a body may take longer than requestTimeoutMs', async (t) => {
  const current = await setup(t);
  const store = await createSecondStore(t, current, { requestTimeoutMs: 1500, maxAttempts: 1 });
  current.proxy.fault = ({ operation }) => (operation === 'PUT' ? { slowRequestMs: 120 } : undefined);
  const startedAt = performance.now();
  await put(store, 'a', content(16 * MIB));
  t.true(performance.now() - startedAt > 1700);
  t.is((await getArtifact(store, 'a')).size, 16 * MIB);
});

test('reads no more of a body than the parts in memory', async (t) => {
  const { store, proxy, keys } = await setup(t, { partBytes: PART });
  const { promise: held, resolve: release } = deferred();
  proxy.fault = ({ operation }) => (operation.startsWith('PUT part') ? { after: held } : undefined);
  const chunk = content(256 * KIB);
  let emitted = 0;
  const body = new Readable({
    highWaterMark: 1,
    read() {
      if (emitted === 200 * chunk.byteLength) this.push(null);
      else {
        emitted += chunk.byteLength;
        this.push(chunk);
      }
    },
  });
  const upload = store.put('a', body, { signal: never() });
  await until(
    'two parts are in flight',
    () => proxy.operations.filter((operation) => operation.startsWith('PUT part')).length === 2,
  );
  await until('the third part is full', () => emitted >= 3 * PART);
  await new Promise((resolve) => setTimeout(resolve, 100)); // Time in which a store without the limit would read on.
  t.true(emitted <= 3 * PART + 2 * chunk.byteLength, `${emitted} bytes`);
  t.is(proxy.operations.filter((operation) => operation.startsWith('PUT part')).length, 2);
  release();
  t.true((await upload).created);
  t.is((await getArtifact(store, 'a')).size, 200 * chunk.byteLength);
  t.deepEqual(await keys(), ['a']);
});

test('an upload takes memory for the bytes that have arrived, not for a whole part', async (t) => {
  const { store } = await setup(t, { partBytes: PART, uploadBytes: 2 * PART });
  const controller = new AbortController();
  const slow = Array.from({ length: 20 }, (_, index) =>
    store.put(`slow/${index}`, bodyOf([content(1000)]), {
      signal: controller.signal,
      size: index % 2 ? PART : undefined,
    }),
  );
  const outcomes = Promise.allSettled(slow);
  const bytes = content(2 * PART + 5);
  await put(store, 'large', bytes, { size: undefined });
  assertBytes(t, await read(await getArtifact(store, 'large')), bytes);
  controller.abort();
  await outcomes;
});

test('uploads share their memory, and one that finds none waits up to requestTimeoutMs', async (t) => {
  const current = await setup(t);
  const { proxy } = current;
  const options = { partBytes: PART, uploadBytes: 2 * PART };
  const store = await createSecondStore(t, current, options);
  const { bodies, uploading } = await fillMemory(store);
  const third = put(store, 'third', content(1000), { size: undefined });
  const controller = new AbortController();
  const fourth = put(store, 'fourth', content(1000), { signal: controller.signal });
  await until(
    'all uploads have started',
    () => proxy.operations.filter((operation) => operation === 'HEAD').length === 4,
  );
  controller.abort();
  await t.throwsAsync(fourth, { any: true, name: 'AbortError' });
  t.false(proxy.operations.includes('PUT'));
  for (const body of bodies) body.push(null);
  await uploading;
  await third;

  const impatient = await createSecondStore(t, current, { ...options, requestTimeoutMs: 2000 });
  const blocking = await fillMemory(impatient);
  await t.throwsAsync(
    put(impatient, 'a', content(1000), { size: undefined }),
    refusal('ERR_HOTBLOB_OVERLOADED', /uploadBytes: too few of the \d+ bytes became free within 2000 ms/),
  );
  for (const body of blocking.bodies) body.destroy(failure);
  await t.throwsAsync(blocking.uploading, { is: failure });
  await put(impatient, 'a', 'x', { size: undefined });
});

/** Starts two uploads that use all memory of a store for two parts, and have not ended. */
async function fillMemory(store: Setup['store']) {
  const bodies = [bodyOf([content(PART - 10)]), bodyOf([content(PART)])];
  const uploading = Promise.all(bodies.map((body, index) => store.put(`full/${index}`, body, { signal: never() })));
  uploading.catch(() => {});
  // The store asks for the next chunk when it has copied the previous one.
  await until('the memory is used up', () => bodies.every((body) => body.readableDidRead && body.readableLength === 0));
  return { bodies, uploading };
}

test('put needs no signal', async (t) => {
  const { store } = await setup(t);
  t.true((await store.put('a', Readable.from([Buffer.from('x')]))).created);
  assertBytes(t, await read(await getArtifact(store, 'a')), Buffer.from('x'));
});

test('delete resolves to whether the artifact existed', async (t) => {
  const { store, proxy, keys } = await setup(t);
  await put(store, 'a/b', 'x');
  await put(store, 'a/c', 'x');
  proxy.clear();
  t.true(await store.delete('a/b'));
  t.deepEqual(proxy.operations, ['HEAD', 'DELETE']);
  proxy.clear();
  t.false(await store.delete('a/b'));
  t.deepEqual(proxy.operations, ['HEAD']);
  t.is(await store.get('a/b'), undefined);
  t.deepEqual(await keys(), ['a/c']);
});

test('close waits for uploads, and a closed store rejects every operation', async (t) => {
  const { store, proxy, keys } = await setup(t);
  const { promise: held, resolve: release } = deferred();
  proxy.fault = ({ operation }) => (operation === 'PUT' ? { after: held } : undefined);
  const upload = put(store, 'a', 'x');
  await until('the upload is in flight', () => proxy.operations.includes('PUT'));
  let isClosed = false;
  const closing = store.close().then(() => {
    isClosed = true;
  });
  for (const task of [() => put(store, 'b', 'x'), () => store.get('a'), () => store.delete('a')]) {
    await t.throwsAsync(task, refusal('ERR_HOTBLOB_CLOSED', /closed/));
  }
  await new Promise(setImmediate);
  t.false(isClosed);
  release();
  await closing;
  t.true((await upload).created);
  t.deepEqual(await keys(), ['a']);
});

function isPart({ operation }: { readonly operation: string }): boolean {
  return operation.startsWith('PUT part');
}

function partBytes(proxy: Setup['proxy']): number[] {
  return proxy.requests.filter(isPart).map(({ bodyBytes }) => bodyBytes);
}

function readInChunks(bytes: Buffer, chunkBytes: number): Readable {
  const chunks: Buffer[] = [];
  for (let start = 0; start < bytes.byteLength; start += chunkBytes) {
    chunks.push(bytes.subarray(start, start + chunkBytes));
  }
  return Readable.from(chunks);
}
