import { once } from 'node:events';
import test from 'ava';
import { until } from '../../helpers/poll.js';
import { content, never, put, refusal } from '../fixture.js';
import { another, assertBytes, bytesOf, clientOf, find, KIB, MIB, md5Tag, read, serviceFor } from './fixture.js';

const site = serviceFor(test);

test('an artifact up to 64 KiB is one request', async (t) => {
  const { store, wire } = await site(t);
  for (const length of [1, 3000, 64 * KIB]) {
    const bytes = content(length);
    await put(store, 'a/b', bytes);
    wire.clear();
    const before = Date.now() - 2000; // S3 says seconds
    const artifact = await find(store, 'a/b');
    t.is(artifact.kind, 'stream');
    t.is(artifact.size, length);
    t.is(artifact.etag, md5Tag(bytes));
    t.is(artifact.contentType, 'application/octet-stream');
    t.is(artifact.contentEncoding, undefined);
    const modified = artifact.lastModified?.getTime() ?? 0;
    t.true(modified >= before && modified <= Date.now() + 1000);
    assertBytes(t, await read(artifact), bytes);
    t.deepEqual(wire.asked, ['GET'], `${length} bytes`);
  }
});

test('a longer one is two, and the second says of which object it wants the rest', async (t) => {
  const { store, wire } = await site(t);
  const bytes = content(3 * MIB + 17);
  await put(store, 'a', bytes);
  wire.clear();
  assertBytes(t, await read(await find(store, 'a')), bytes);
  t.deepEqual(
    wire.seen.map(({ what, headers }) => [what, headers.range, headers['if-match']]),
    [
      ['GET', 'bytes=0-65535', undefined],
      ['GET', `bytes=65536-${3 * MIB + 16}`, md5Tag(bytes)],
    ],
  );
});

test('a range is asked for as such, and not at all where it is known', async (t) => {
  const { store, wire } = await site(t);
  const bytes = content(300_000);
  await put(store, 'a', bytes);
  for (const [start, end, asked] of [
    [0, 1, undefined],
    [100, 65_536, undefined],
    [65_535, 65_537, 'bytes=65536-65536'],
    [1000, 200_000, 'bytes=65536-199999'],
    [65_536, 65_537, 'bytes=65536-65536'],
    [299_999, 300_000, 'bytes=299999-299999'],
    [100_000, 300_000, 'bytes=100000-299999'],
  ] as const) {
    const artifact = await find(store, 'a');
    wire.clear();
    assertBytes(t, await read(artifact, start, end), bytes.subarray(start, end));
    t.deepEqual(
      wire.seen.map(({ headers }) => headers.range),
      asked === undefined ? [] : [asked],
      `${start} to ${end}`,
    );
  }
});

test('firstBytes: 0 asks with a HEAD', async (t) => {
  const { store, wire } = await site(t, { firstBytes: 0 });
  const bytes = content(1000);
  await put(store, 'a', bytes);
  wire.clear();
  assertBytes(t, await read(await find(store, 'a')), bytes);
  t.is(await store.get('b'), undefined);
  t.deepEqual(wire.asked, ['HEAD', 'GET', 'HEAD']);
});

test('an empty artifact, whatever the service says to a range of it', async (t) => {
  const { store, wire } = await site(t);
  await put(store, 'a', '');
  t.is((await find(store, 'a')).size, 0);
  // What AWS says; s3rver says 206.
  wire.fault = ({ headers }) => (headers.range ? { answer: 416, code: 'InvalidRange' } : undefined);
  wire.clear();
  const artifact = await find(store, 'a');
  t.is(artifact.size, 0);
  t.is(artifact.etag, md5Tag(Buffer.alloc(0)));
  assertBytes(t, await read(artifact), Buffer.alloc(0));
  t.deepEqual(wire.asked, ['GET', 'HEAD']);
});

test('a miss is one request; a missing bucket is no miss', async (t) => {
  const { store, wire } = await site(t);
  t.is(await store.get('a', { signal: never() }), undefined);
  t.deepEqual(wire.asked, ['GET']);
  const other = await site(t, { bucket: 'other' });
  await t.throwsAsync(other.store.get('a'), refusal('ERR_HOTBLOB_UPSTREAM', /'other'.*404 NoSuchBucket/));
});

test('what was replaced between two requests is never mixed', async (t) => {
  const { store, wire } = await site(t);
  const replace = async () => {
    await put(store, 'a', content(200_000));
    const artifact = await find(store, 'a');
    await put(store, 'a', content(200_000, 1));
    return artifact;
  };
  // s3rver knows no If-Match: that the entity tag is another one says it too.
  const changed = refusal('ERR_HOTBLOB_OVERLOADED', /replaced or deleted meanwhile/);
  await t.throwsAsync(read(await replace()), changed);
  const artifact = await replace();
  wire.fault = ({ headers }) => (headers['if-match'] ? { answer: 412, code: 'PreconditionFailed' } : undefined);
  await t.throwsAsync(read(artifact), changed);
  wire.fault = () => undefined;
  await store.delete('a');
  await t.throwsAsync(read(artifact), changed);
});

test('a download that has begun outlives its artifact', async (t) => {
  const { store } = await site(t);
  const bytes = content(4 * MIB);
  await put(store, 'a', bytes);
  const body = await (await find(store, 'a')).open(undefined, { signal: never() });
  t.true(await store.delete('a'));
  assertBytes(t, await bytesOf(body), bytes);
});

test('a body that is cut off goes on where it ended', async (t) => {
  const { store, wire } = await site(t);
  const bytes = content(2 * MIB);
  await put(store, 'a', bytes);
  wire.clear();
  let cuts = 0;
  // The first bytes once, and four of the requests for the rest: more than there are attempts.
  wire.fault = () => (++cuts <= 6 ? { cutAnswerAt: cuts === 1 ? 1000 : 200_000 } : undefined);
  assertBytes(t, await read(await find(store, 'a')), bytes);
  t.is(wire.seen.length, 7);
  const starts = wire.seen.map(({ headers }) => Number(/^bytes=(\d+)-/.exec(headers.range ?? '')?.[1]));
  // A reset takes bytes with it that were on their way: where exactly a body ended is not the store's to choose.
  t.true((starts[1] ?? 0) <= 1000 && (starts[3] ?? 0) <= 265_536, `${starts}`);
  t.is(starts[2], 65_536);
  t.true((starts[3] ?? 0) > 65_536);
  t.deepEqual(
    starts,
    starts.toSorted((x, y) => x - y),
  );
  t.deepEqual(new Set(wire.seen.slice(1).map(({ headers }) => headers['if-match'])), new Set([md5Tag(bytes)]));
});

test('so does one that ends too early', async (t) => {
  const { store, wire } = await site(t);
  const bytes = content(1 * MIB);
  await put(store, 'a', bytes);
  wire.clear();
  wire.fault = () => (wire.seen.length <= 3 ? { endAnswerAt: 50_000 } : undefined);
  assertBytes(t, await read(await find(store, 'a')), bytes);
  t.true(wire.seen.length >= 4);
});

test('a body that never comes fails after all attempts', async (t) => {
  const { store, wire } = await site(t);
  await put(store, 'a', content(200_000));
  const artifact = await find(store, 'a');
  wire.clear();
  wire.fault = () => ({ cutAnswerAt: 0 });
  await t.throwsAsync(read(artifact), refusal('ERR_HOTBLOB_UPSTREAM', /reading from the bucket 'cache' failed/));
  t.is(wire.seen.length, 3);
});

for (const whose of ['own', 'given'] as const) {
  test(`a body that falls silent goes on with another request: ${whose} client`, async (t) => {
    const here = await site(t);
    const { wire } = here;
    const bytes = content(1 * MIB);
    await put(here.store, 'a', bytes);
    const store = await another(t, here, { requestTimeoutMs: 1000, ...clientOf(t, whose, here) });
    wire.clear();
    // The first bytes, and the rest.
    wire.fault = () => (wire.seen.length % 2 === 1 ? { silentAnswerAt: 50_000 } : undefined);
    assertBytes(t, await read(await find(store, 'a')), bytes);
    await until('all is over', () => wire.seen.every(({ isOver }) => isOver));
    t.deepEqual(
      wire.seen.map(({ headers, isCutByClient }) => [Number(/\d+/.exec(headers.range ?? '')), isCutByClient]),
      [
        [0, true],
        [50_000, false],
        [65_536, true],
        [115_536, false],
      ],
    );
  });
}

test('a client may be as slow as it likes: its connection is given back meanwhile', async (t) => {
  const here = await site(t);
  const { wire } = here;
  const bytes = content(8 * MIB);
  await put(here.store, 'a', bytes);
  const store = await another(t, here, { requestTimeoutMs: 2000, maxAttempts: 1 });
  wire.clear();
  const body = await (await find(store, 'a')).open(undefined, { signal: never() });
  const chunks: Buffer[] = [];
  for await (const chunk of body) {
    chunks.push(chunk);
    if (chunks.length !== 5 && chunks.length !== 10) continue;
    await until('the idle connection is closed', () => wire.seen.at(-1)?.isOver === true);
  }
  assertBytes(t, Buffer.concat(chunks), bytes);
  t.true(wire.seen.length >= 3, `${wire.seen.length} requests`);
});

test('so may it where the client of S3 has no such limit', async (t) => {
  const here = await site(t);
  const bytes = content(8 * MIB);
  await put(here.store, 'a', bytes);
  const store = await another(t, here, { requestTimeoutMs: 1000, ...clientOf(t, 'given', here) });
  here.wire.clear();
  const body = await (await find(store, 'a')).open(undefined, { signal: never() });
  const chunks: Buffer[] = [];
  for await (const chunk of body) {
    // Longer than the service may be silent.
    if (chunks.push(chunk) === 5) await new Promise((resolve) => setTimeout(resolve, 1500));
  }
  assertBytes(t, Buffer.concat(chunks), bytes);
  t.is(here.wire.seen.length, 2);
});

test('a service that knows no ranges serves whole artifacts, and never the wrong bytes', async (t) => {
  const { store, wire } = await site(t);
  for (const length of [1000, 200_000]) {
    const bytes = content(length);
    await put(store, 'a', bytes);
    wire.fault = () => ({ noRange: true });
    assertBytes(t, await read(await find(store, 'a')), bytes);
  }
  const wrong = refusal('ERR_HOTBLOB_UPSTREAM', /asked for bytes from 100000/);
  await t.throwsAsync(read(await find(store, 'a'), 100_000, 100_010), wrong);
});

test('nobody reads for a client that has gone', async (t) => {
  const { store, wire } = await site(t);
  await put(store, 'a', content(8 * MIB));
  const reason = new Error('the client has gone');

  const early = new AbortController();
  wire.fault = () => ({ ignore: true });
  wire.clear();
  const asking = store.get('a', { signal: early.signal });
  await until('the request is there', () => wire.seen.length === 1);
  early.abort(reason);
  t.is(await t.throwsAsync(asking), reason);
  await until('the connection is closed', () => wire.seen[0]?.isCutByClient === true);

  wire.fault = () => undefined;
  for (const leave of ['abort', 'destroy'] as const) {
    const artifact = await find(store, 'a');
    wire.clear();
    const late = new AbortController();
    const body = await artifact.open(undefined, { signal: late.signal });
    body.on('error', () => {});
    await once(body, 'readable');
    if (leave === 'abort') {
      late.abort(reason);
      t.is(await t.throwsAsync(bytesOf(body)), reason);
    } else {
      body.destroy();
    }
    // Sooner than the timeout would do it.
    await until('the connection is closed', () => wire.seen[0]?.isCutByClient === true, 5000);
    t.is(wire.seen.length, 1);
  }
});
