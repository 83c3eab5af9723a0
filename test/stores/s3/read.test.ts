import { once } from 'node:events';
import test from 'ava';
import { until } from '../../helpers/poll.js';
import { content, never, put, refusal } from '../fixture.js';
import {
  assertBytes,
  clientOption,
  collect,
  createSecondStore,
  getArtifact,
  KIB,
  MIB,
  md5Tag,
  read,
  setupFor,
} from './fixture.js';

const setup = setupFor(test);

test('downloads an artifact of up to 64 KiB in one request', async (t) => {
  const { store, proxy } = await setup(t);
  for (const length of [1, 3000, 64 * KIB]) {
    const bytes = content(length);
    await put(store, 'a/b', bytes);
    proxy.clear();
    const before = Date.now() - 2000; // S3 has a resolution of one second.
    const artifact = await getArtifact(store, 'a/b');
    t.is(artifact.kind, 'stream');
    t.is(artifact.size, length);
    t.is(artifact.etag, md5Tag(bytes));
    t.is(artifact.contentType, 'application/octet-stream');
    t.is(artifact.contentEncoding, undefined);
    const modified = artifact.lastModified?.getTime() ?? 0;
    t.true(modified >= before && modified <= Date.now() + 1000);
    assertBytes(t, await read(artifact), bytes);
    t.deepEqual(proxy.operations, ['GET'], `${length} bytes`);
  }
});

test('downloads a larger artifact in two requests, the second with If-Match', async (t) => {
  const { store, proxy } = await setup(t);
  const bytes = content(3 * MIB + 17);
  await put(store, 'a', bytes);
  proxy.clear();
  assertBytes(t, await read(await getArtifact(store, 'a')), bytes);
  t.deepEqual(
    proxy.requests.map(({ operation, headers }) => [operation, headers.range, headers['if-match']]),
    [
      ['GET', 'bytes=0-65535', undefined],
      ['GET', `bytes=65536-${3 * MIB + 16}`, md5Tag(bytes)],
    ],
  );
});

test('requests only the bytes of a range that were not received with the lookup', async (t) => {
  const { store, proxy } = await setup(t);
  const bytes = content(300_000);
  await put(store, 'a', bytes);
  for (const [start, end, rangeHeader] of [
    [0, 1, undefined],
    [100, 65_536, undefined],
    [65_535, 65_537, 'bytes=65536-65536'],
    [1000, 200_000, 'bytes=65536-199999'],
    [65_536, 65_537, 'bytes=65536-65536'],
    [299_999, 300_000, 'bytes=299999-299999'],
    [100_000, 300_000, 'bytes=100000-299999'],
  ] as const) {
    const artifact = await getArtifact(store, 'a');
    proxy.clear();
    assertBytes(t, await read(artifact, start, end), bytes.subarray(start, end));
    t.deepEqual(
      proxy.requests.map(({ headers }) => headers.range),
      rangeHeader === undefined ? [] : [rangeHeader],
      `${start} to ${end}`,
    );
  }
});

test('sends a HEAD request for a lookup with firstBytes: 0', async (t) => {
  const { store, proxy } = await setup(t, { firstBytes: 0 });
  const bytes = content(1000);
  await put(store, 'a', bytes);
  proxy.clear();
  assertBytes(t, await read(await getArtifact(store, 'a')), bytes);
  t.is(await store.get('b'), undefined);
  t.deepEqual(proxy.operations, ['HEAD', 'GET', 'HEAD']);
});

test('reads an empty artifact, whatever the service responds to a range of it', async (t) => {
  const { store, proxy } = await setup(t);
  await put(store, 'a', '');
  t.is((await getArtifact(store, 'a')).size, 0);
  // AWS responds 416, s3rver 206.
  proxy.fault = ({ headers }) => (headers.range ? { status: 416, code: 'InvalidRange' } : undefined);
  proxy.clear();
  const artifact = await getArtifact(store, 'a');
  t.is(artifact.size, 0);
  t.is(artifact.etag, md5Tag(Buffer.alloc(0)));
  assertBytes(t, await read(artifact), Buffer.alloc(0));
  t.deepEqual(proxy.operations, ['GET', 'HEAD']);
});

test('a miss takes one request, and a missing bucket is an error', async (t) => {
  const { store, proxy } = await setup(t);
  t.is(await store.get('a', { signal: never() }), undefined);
  t.deepEqual(proxy.operations, ['GET']);
  const other = await setup(t, { bucket: 'other' });
  await t.throwsAsync(other.store.get('a'), refusal('ERR_HOTBLOB_UPSTREAM', /'other'.*404 NoSuchBucket/));
});

test('rejects if the object was replaced or deleted between two requests', async (t) => {
  const { store, proxy } = await setup(t);
  const replace = async () => {
    await put(store, 'a', content(200_000));
    const artifact = await getArtifact(store, 'a');
    await put(store, 'a', content(200_000, 1));
    return artifact;
  };
  // s3rver ignores If-Match, so the store has to compare the entity tags.
  const changed = refusal('ERR_HOTBLOB_OVERLOADED', /replaced or deleted during the download/);
  await t.throwsAsync(read(await replace()), changed);
  const artifact = await replace();
  proxy.fault = ({ headers }) => (headers['if-match'] ? { status: 412, code: 'PreconditionFailed' } : undefined);
  await t.throwsAsync(read(artifact), changed);
  proxy.fault = () => undefined;
  await store.delete('a');
  await t.throwsAsync(read(artifact), changed);
});

test('completes a download that started before the artifact was deleted', async (t) => {
  const { store } = await setup(t);
  const bytes = content(4 * MIB);
  await put(store, 'a', bytes);
  const body = await (await getArtifact(store, 'a')).open(undefined, { signal: never() });
  t.true(await store.delete('a'));
  assertBytes(t, await collect(body), bytes);
});

test('resumes a body after a connection reset', async (t) => {
  const { store, proxy } = await setup(t);
  const bytes = content(2 * MIB);
  await put(store, 'a', bytes);
  proxy.clear();
  let resets = 0;
  // Resets one request for the first bytes and more requests for the rest than maxAttempts: each makes progress.
  proxy.fault = () => (++resets <= 6 ? { resetResponseAt: resets === 1 ? 1000 : 200_000 } : undefined);
  assertBytes(t, await read(await getArtifact(store, 'a')), bytes);
  t.is(proxy.requests.length, 7);
  const starts = proxy.requests.map(({ headers }) => Number(/^bytes=(\d+)-/.exec(headers.range ?? '')?.[1]));
  // A reset discards bytes in flight, so the exact position of the next request varies.
  t.true((starts[1] ?? 0) <= 1000 && (starts[3] ?? 0) <= 265_536, `${starts}`);
  t.is(starts[2], 65_536);
  t.true((starts[3] ?? 0) > 65_536);
  t.deepEqual(
    starts,
    starts.toSorted((x, y) => x - y),
  );
  t.deepEqual(new Set(proxy.requests.slice(1).map(({ headers }) => headers['if-match'])), new Set([md5Tag(bytes)]));
});

test('resumes a body that ends too early', async (t) => {
  const { store, proxy } = await setup(t);
  const bytes = content(1 * MIB);
  await put(store, 'a', bytes);
  proxy.clear();
  proxy.fault = () => (proxy.requests.length <= 3 ? { endResponseAt: 50_000 } : undefined);
  assertBytes(t, await read(await getArtifact(store, 'a')), bytes);
  t.true(proxy.requests.length >= 4);
});

test('rejects after all attempts if no byte of a body arrives', async (t) => {
  const { store, proxy } = await setup(t);
  await put(store, 'a', content(200_000));
  const artifact = await getArtifact(store, 'a');
  proxy.clear();
  proxy.fault = () => ({ resetResponseAt: 0 });
  await t.throwsAsync(read(artifact), refusal('ERR_HOTBLOB_UPSTREAM', /reading from the bucket 'cache' failed/));
  t.is(proxy.requests.length, 3);
});

for (const owner of ['own', 'given'] as const) {
  test(`resumes a stalled body with another request: ${owner} client`, async (t) => {
    const current = await setup(t);
    const { proxy } = current;
    const bytes = content(1 * MIB);
    await put(current.store, 'a', bytes);
    const store = await createSecondStore(t, current, { requestTimeoutMs: 1000, ...clientOption(t, owner, current) });
    proxy.clear();
    // Stalls the first request for the first bytes and the first one for the rest.
    proxy.fault = () => (proxy.requests.length % 2 === 1 ? { stallResponseAt: 50_000 } : undefined);
    assertBytes(t, await read(await getArtifact(store, 'a')), bytes);
    await until('all requests are done', () => proxy.requests.every(({ isDone }) => isDone));
    t.deepEqual(
      proxy.requests.map(({ headers, isAbortedByClient }) => [
        Number(/\d+/.exec(headers.range ?? '')),
        isAbortedByClient,
      ]),
      [
        [0, true],
        [50_000, false],
        [65_536, true],
        [115_536, false],
      ],
    );
  });
}

test('a slow client does not fail: an idle connection to S3 is closed and reopened', async (t) => {
  const current = await setup(t);
  const { proxy } = current;
  const bytes = content(8 * MIB);
  await put(current.store, 'a', bytes);
  const store = await createSecondStore(t, current, { requestTimeoutMs: 2000, maxAttempts: 1 });
  proxy.clear();
  const body = await (await getArtifact(store, 'a')).open(undefined, { signal: never() });
  const chunks: Buffer[] = [];
  for await (const chunk of body) {
    chunks.push(chunk);
    if (chunks.length !== 5 && chunks.length !== 10) continue;
    await until('the idle connection is closed', () => proxy.requests.at(-1)?.isDone === true);
  }
  assertBytes(t, Buffer.concat(chunks), bytes);
  t.true(proxy.requests.length >= 3, `${proxy.requests.length} requests`);
});

test('a slow client does not fail with an S3 client without a socket timeout', async (t) => {
  const current = await setup(t);
  const bytes = content(8 * MIB);
  await put(current.store, 'a', bytes);
  const store = await createSecondStore(t, current, { requestTimeoutMs: 1000, ...clientOption(t, 'given', current) });
  current.proxy.clear();
  const body = await (await getArtifact(store, 'a')).open(undefined, { signal: never() });
  const chunks: Buffer[] = [];
  for await (const chunk of body) {
    // Longer than requestTimeoutMs.
    if (chunks.push(chunk) === 5) await new Promise((resolve) => setTimeout(resolve, 1500));
  }
  assertBytes(t, Buffer.concat(chunks), bytes);
  t.is(current.proxy.requests.length, 2);
});

test('reads whole artifacts from a service that ignores ranges, and rejects a range', async (t) => {
  const { store, proxy } = await setup(t);
  for (const length of [1000, 200_000]) {
    const bytes = content(length);
    await put(store, 'a', bytes);
    proxy.fault = () => ({ noRange: true });
    assertBytes(t, await read(await getArtifact(store, 'a')), bytes);
  }
  const wrong = refusal(
    'ERR_HOTBLOB_UPSTREAM',
    /expected bytes from 100000 to 100010, received bytes from 0 to 200000/,
  );
  await t.throwsAsync(read(await getArtifact(store, 'a'), 100_000, 100_010), wrong);
});

test('aborts the request to S3 when the client leaves', async (t) => {
  const { store, proxy } = await setup(t);
  await put(store, 'a', content(8 * MIB));
  const reason = new Error('the client has left');

  const early = new AbortController();
  proxy.fault = () => ({ ignore: true });
  proxy.clear();
  const lookup = store.get('a', { signal: early.signal });
  await until('the request has arrived', () => proxy.requests.length === 1);
  early.abort(reason);
  t.is(await t.throwsAsync(lookup), reason);
  await until('the connection is closed', () => proxy.requests[0]?.isAbortedByClient === true);

  proxy.fault = () => undefined;
  for (const leave of ['abort', 'destroy'] as const) {
    const artifact = await getArtifact(store, 'a');
    proxy.clear();
    const late = new AbortController();
    const body = await artifact.open(undefined, { signal: late.signal });
    body.on('error', () => {});
    await once(body, 'readable');
    if (leave === 'abort') {
      late.abort(reason);
      t.is(await t.throwsAsync(collect(body)), reason);
    } else {
      body.destroy();
    }
    // The timeout is longer than this limit.
    await until('the connection is closed', () => proxy.requests[0]?.isAbortedByClient === true, 5000);
    t.is(proxy.requests.length, 1);
  }
});
