import { readdir } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import test from 'ava';
import { createHandler } from '../../../src/handler/handler.js';
import { memoryStore } from '../../../src/stores/memory.js';
import { request } from '../../helpers/client.js';
import { until } from '../../helpers/poll.js';
import { startServer } from '../../helpers/servers.js';
import { content, entriesBelow, never, put, refusal, temporaryDirectory } from '../fixture.js';
import { type Listener, lookUp, read, WIRES } from '../upstream/fixture.js';
import { answering, artifactIn, bytesIn, cacheOf, startTiers, tiered } from './fixture.js';

const SMALL = content(20_000);
const LARGE = content(8_000_000);

for (const wire of WIRES) {
  test(`${wire}: what is asked for comes from the remote store once, and is kept`, async (t) => {
    const { store, local, peer } = await startTiers(t, answering(LARGE), {}, wire);
    t.true(LARGE.equals((await bytesIn(store, 'a/b')) ?? Buffer.of()));
    await until('it has landed', () => store.stats().flights === 0);
    t.is((await artifactIn(store, 'a/b')).kind, 'file');
    t.true(LARGE.equals((await bytesIn(store, 'a/b')) ?? Buffer.of()));
    t.true(LARGE.equals((await bytesIn(local, 'a/b')) ?? Buffer.of()));
    t.deepEqual(peer.requests, ['GET /a/b']);
  });
}

for (const bytes of [Buffer.of(), SMALL, LARGE]) {
  test(`a memory store in front, ${bytes.byteLength} bytes`, async (t) => {
    const local = memoryStore();
    const { store, peer } = await startTiers(t, answering(bytes), { local });
    t.true(bytes.equals((await bytesIn(store, 'a')) ?? Buffer.of(1)));
    await until('it has landed', () => store.stats().flights === 0);
    const hit = store.get('a', { signal: never() });
    t.false(hit instanceof Promise, 'a hit in memory is answered at once');
    t.true(bytes.equals((await bytesIn(store, 'a')) ?? Buffer.of(1)));
    t.is(peer.requests.length, 1);
  });
}

test('one request, however many ask; the bytes flow to all of them while it comes', async (t) => {
  let finish = (): void => {};
  const { store, local, peer } = await startTiers(t, (_request, response) => {
    response.setHeader('content-length', LARGE.byteLength);
    response.write(LARGE.subarray(0, 1_000_000));
    finish = () => void response.end(LARGE.subarray(1_000_000));
  });
  const clients = await Promise.all(Array.from({ length: 20 }, () => lookUp(store, 'a')));
  const bodies = await Promise.all(clients.map((artifact) => artifact.open(undefined, { signal: never() })));
  const readers = bodies.map((body) => new Progress(body));
  await until('everybody has what is there', () => readers.every(({ bytes }) => bytes === 1_000_000));
  // Who comes late gets it from its beginning.
  const late = new Progress(await (await lookUp(store, 'a')).open(undefined, { signal: never() }));
  await until('so has the one who has come late', () => late.bytes === 1_000_000);
  t.is(await bytesIn(local, 'a'), undefined, 'nothing is kept before it is whole');
  finish();
  for (const reader of [...readers, late]) t.true(LARGE.equals(await reader.whole));
  await until('it has landed', () => store.stats().flights === 0);
  t.true(LARGE.equals((await bytesIn(local, 'a')) ?? Buffer.of()));
  t.deepEqual(peer.requests, ['GET /a']);
});

test('a client that does not read holds nobody up, and gets all of it when it does', async (t) => {
  const spoolDir = await temporaryDirectory(t);
  const { store, local } = await startTiers(t, answering(LARGE), { spoolDir });
  const slow = await (await lookUp(store, 'a')).open(undefined, { signal: never() });
  t.true(LARGE.equals((await bytesIn(store, 'a')) ?? Buffer.of()));
  await until('it has landed', () => store.stats().flights === 0);
  t.true(LARGE.equals((await bytesIn(local, 'a')) ?? Buffer.of()));
  t.true(slow.readableLength < 300_000, `${slow.readableLength} bytes wait in memory`);
  t.deepEqual(await readdir(spoolDir), [], 'the file of it has no name');
  await local.delete('a');
  t.true(LARGE.equals(await buffer(slow)));
});

test('without room in memory even small artifacts go through a file', async (t) => {
  const { store, local } = await startTiers(t, answering(SMALL), { spoolMemoryBytes: 0 });
  const clients = await Promise.all([lookUp(store, 'a'), lookUp(store, 'a')]);
  for (const body of await Promise.all(clients.map((artifact) => read(artifact)))) t.true(SMALL.equals(body));
  await until('it has landed', () => store.stats().flights === 0);
  t.true(SMALL.equals((await bytesIn(local, 'a')) ?? Buffer.of()));
});

test('the memory of what has come in is given back', async (t) => {
  // Room for one at a time.
  const { store } = await startTiers(t, answering(SMALL), { spoolMemoryBytes: 32_768, spoolDir: '/nonexistent' });
  for (let count = 0; count < 5; count++) {
    t.true(SMALL.equals((await bytesIn(store, `key-${count}`)) ?? Buffer.of()));
    await until('it has landed', () => store.stats().flights === 0);
  }
});

test('a client that leaves cancels nothing for the others', async (t) => {
  let finish = (): void => {};
  const { store, local, peer } = await startTiers(t, (_request, response) => {
    response.setHeader('content-length', LARGE.byteLength);
    response.write(LARGE.subarray(0, 1_000_000));
    finish = () => void response.end(LARGE.subarray(1_000_000));
  });
  const first = new AbortController();
  const leaving = await (await lookUp(store, 'a', first.signal)).open(undefined, { signal: first.signal });
  const staying = new Progress(await (await lookUp(store, 'a')).open(undefined, { signal: never() }));
  await until('the bytes flow', () => staying.bytes === 1_000_000);
  first.abort();
  t.true(leaving.destroyed);
  const second = new AbortController();
  const asking = store.get('a', { signal: second.signal });
  second.abort();
  await t.throwsAsync(asking as Promise<unknown>, { any: true, name: 'AbortError' });
  finish();
  t.true(LARGE.equals(await staying.whole));
  await until('it has landed', () => store.stats().flights === 0);
  t.true(LARGE.equals((await bytesIn(local, 'a')) ?? Buffer.of()));
  t.is(peer.requests.length, 1);
});

test('while nobody has begun to read, the last who leaves ends the request', async (t) => {
  let closed = 0;
  const { store, peer } = await startTiers(t, (_request, response) => {
    response.on('close', () => closed++);
    response.setHeader('content-length', LARGE.byteLength);
    response.end(LARGE);
  });
  const handler = createHandler({ store });
  const server = await startServer(t, 'http', handler);
  const head = await request(server, { method: 'HEAD', path: '/a' });
  t.is(head.headers['content-length'], String(LARGE.byteLength));
  await until('the request is over', () => closed === 1 && store.stats().flights === 0);
  t.true(LARGE.equals((await request(server, { path: '/a' })).body));
  await until('it has landed', () => store.stats().flights === 0);
  t.true(LARGE.equals((await request(server, { path: '/a' })).body));
  t.is(handler.stats().sent.stream.bytes, LARGE.byteLength, 'what is kept is sent as a file');
  t.is(peer.requests.length, 2);
});

const CUTS: Record<string, (response: Parameters<Listener>[1]) => void> = {
  reset: (response) => void response.destroy(new Error('cut')),
  'end before the length': (response) => response.socket?.end(),
};

for (const [name, cut] of Object.entries(CUTS)) {
  test(`a remote store that fails in the middle (${name}) fails those who read, and leaves nothing`, async (t) => {
    let isGood = false;
    let proceed = (): void => {};
    const { store, local, peer } = await startTiers(
      t,
      (_request, response) => {
        response.setHeader('content-length', LARGE.byteLength);
        if (isGood) return void response.end(LARGE);
        response.write(LARGE.subarray(0, 1_000_000));
        proceed = () => cut(response);
      },
      {},
      'http',
    );
    const bodies = await Promise.all(
      [1, 2].map(async () => (await lookUp(store, 'a')).open(undefined, { signal: never() })),
    );
    const readers = bodies.map((body) => new Progress(body));
    await until('the bytes flow', () => readers.every(({ bytes }) => bytes === 1_000_000));
    proceed();
    for (const { whole } of readers) await t.throwsAsync(whole, refusal('ERR_HOTBLOB_UPSTREAM'));
    await until('it is over', () => store.stats().flights === 0);
    t.deepEqual(await entriesBelow(local.root), []);
    isGood = true;
    t.true(LARGE.equals((await bytesIn(store, 'a')) ?? Buffer.of()));
    t.is(peer.requests.length, 2);
  });
}

test('a local store that cannot keep it takes nothing from those who read', async (t) => {
  const { store, peer } = await startTiers(t, answering(LARGE), { local: memoryStore({ maxBytes: 1_000_000 }) });
  for (let count = 1; count <= 2; count++) {
    t.true(LARGE.equals((await bytesIn(store, 'a')) ?? Buffer.of()));
    await until('it is over', () => store.stats().flights === 0);
    t.is(peer.requests.length, count);
  }
});

test('ranges: of what comes in, and far ahead of it', async (t) => {
  const ranges: unknown[] = [];
  const { store } = await startTiers(t, (request, response) => {
    const { range } = request.headers;
    ranges.push(range);
    const [, start = 0, end = 0] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '')?.map(Number) ?? [];
    const part = range === undefined ? LARGE : LARGE.subarray(start, end + 1);
    response.statusCode = range === undefined ? 200 : 206;
    response.setHeader('content-length', part.byteLength);
    if (range !== undefined) response.setHeader('content-range', `bytes ${start}-${end}/${LARGE.byteLength}`);
    // Only what is asked for by itself comes to its end.
    if (range === undefined) response.write(part.subarray(0, 1_000_000));
    else response.end(part);
  });
  const artifact = await lookUp(store, 'a');
  const near = await read(artifact, { start: 500_000, end: 600_000 });
  t.true(LARGE.subarray(500_000, 600_000).equals(near));
  const far = await read(artifact, { start: 7_000_000, end: 7_100_000 });
  t.true(LARGE.subarray(7_000_000, 7_100_000).equals(far));
  t.deepEqual(ranges, [undefined, 'bytes=7000000-7099999']);
});

test('what is said about an artifact is passed on, and kept with it', async (t) => {
  const { store, local, peer } = await startTiers(t, (request, response) => {
    response.setHeader('etag', '"v1"');
    response.setHeader('content-type', 'text/x-artifact');
    response.setHeader('x-artifact-tag', `of ${request.url}`);
    if (request.url === '/encoded') response.setHeader('content-encoding', 'gzip');
    response.end('x');
  });
  for (const key of ['plain', 'encoded']) {
    const said = {
      contentType: 'text/x-artifact',
      contentEncoding: key === 'encoded' ? 'gzip' : undefined,
      headers: { 'x-artifact-tag': `of /${key}` },
    };
    t.like(await artifactIn(store, key), { ...said, etag: '"v1"' });
    t.is((await bytesIn(store, key))?.toString(), 'x');
    await until('it is over', () => store.stats().flights === 0);
    t.like(await artifactIn(local, key), said);
    t.like(await artifactIn(store, key), said);
  }
  t.deepEqual(peer.requests, ['GET /plain', 'GET /encoded']);
});

test('what is said in too many bytes is passed on, and such an artifact is not kept', async (t) => {
  const tag = 'x'.repeat(5000);
  const { store, local } = await startTiers(t, (_request, response) => {
    response.setHeader('x-artifact-tag', tag);
    response.end('x');
  });
  t.deepEqual((await artifactIn(store, 'a')).headers, { 'x-artifact-tag': tag });
  t.is((await bytesIn(store, 'a'))?.toString(), 'x');
  await until('it is over', () => store.stats().flights === 0);
  t.deepEqual(await entriesBelow(local.root), []);
});

test('what is said of every artifact costs a directory nothing', async (t) => {
  const { store, local } = await startTiers(t, (_request, response) => {
    response.setHeader('content-type', 'application/octet-stream');
    response.setHeader('cache-control', 'no-transform');
    response.setHeader('x-content-type-options', 'nosniff');
    response.end('x');
  });
  t.is((await bytesIn(store, 'a'))?.toString(), 'x');
  await until('it is over', () => store.stats().flights === 0);
  t.deepEqual(await entriesBelow(local.root), ['a']);
});

test('a miss is remembered, for a time, and until somebody puts it', async (t) => {
  const artifacts = new Map<string, Buffer>();
  const { store, peer } = await startTiers(t, cacheOf(artifacts), { missTtlMs: 400, maxMisses: 2 });
  for (let count = 0; count < 5; count++) t.is(await bytesIn(store, 'a'), undefined);
  t.is(peer.requests.length, 1);
  artifacts.set('/a', SMALL);
  await until('it is forgotten', async () => SMALL.equals((await bytesIn(store, 'a')) ?? Buffer.of()));
  t.is(peer.requests.length, 2);
  for (const key of ['b', 'c', 'd']) t.is(await bytesIn(store, key), undefined);
  t.is(store.stats().rememberedMisses, 2);
  await put(store as Required<typeof store>, 'd', SMALL);
  t.is(store.stats().rememberedMisses, 1);
});

test('what is put while an older one comes in is what stays', async (t) => {
  let finish = (): void => {};
  const { store, local } = await startTiers(t, (request, response) => {
    if (request.method === 'PUT') return void request.resume().on('end', () => response.end());
    response.setHeader('content-length', LARGE.byteLength);
    response.write(LARGE.subarray(0, 1_000_000));
    finish = () => void response.end(LARGE.subarray(1_000_000));
  });
  const old = new Progress(await (await lookUp(store, 'a')).open(undefined, { signal: never() }));
  await until('the old one comes', () => old.bytes === 1_000_000);
  await put(store as Required<typeof store>, 'a', SMALL);
  t.true(SMALL.equals((await bytesIn(store, 'a')) ?? Buffer.of()));
  finish();
  t.true(LARGE.equals(await old.whole), 'who has begun to read the old one gets that');
  await until('it is over', () => store.stats().flights === 0);
  t.true(SMALL.equals((await bytesIn(local, 'a')) ?? Buffer.of()));
  t.deepEqual(await entriesBelow(local.root), ['a']);
});

test('closing ends what comes in, and neither of the two stores', async (t) => {
  const { store, local, remote } = await startTiers(t, (request, response) => {
    if (request.url === '/b') return void response.end('x');
    response.setHeader('content-length', LARGE.byteLength);
    response.write('x');
  });
  const reading = read(await lookUp(store, 'a'));
  const unopened = await lookUp(store, 'c');
  await store.close();
  await t.throwsAsync(reading);
  t.is(unopened.kind, 'stream');
  t.is(await bytesIn(store, 'd'), undefined);
  await t.throwsAsync(put(store as Required<typeof store>, 'a', SMALL), refusal('ERR_HOTBLOB_CLOSED'));
  t.is((await bytesIn(remote, 'b'))?.toString(), 'x');
  await put(local, 'e', SMALL);
  t.deepEqual(await entriesBelow(local.root), ['e']);
});

test('stores of every kind may be remote', async (t) => {
  const directory = await startTiers(t, answering(LARGE));
  await put(directory.local, 'file', LARGE);
  const memory = memoryStore();
  await put(memory, 'bytes', SMALL);
  for (const [remote, key, bytes] of [
    [directory.local, 'file', LARGE],
    [memory, 'bytes', SMALL],
  ] as const) {
    const local = memoryStore();
    const store = await tiered(t, { local, remote });
    t.is(await bytesIn(store, 'miss'), undefined);
    t.true(bytes.equals((await bytesIn(store, key)) ?? Buffer.of()));
    await until('it has landed', () => store.stats().flights === 0);
    t.true(bytes.equals(Buffer.from(local.get(key)?.bytes ?? [])));
  }
});

/** Reads as fast as it can, and says how far it is. */
class Progress {
  bytes = 0;
  readonly whole: Promise<Buffer>;

  constructor(body: Readable) {
    const chunks: Buffer[] = [];
    body.on('data', (chunk: Buffer) => {
      this.bytes += chunk.byteLength;
      chunks.push(chunk);
    });
    this.whole = new Promise((resolve, reject) => {
      body.on('end', () => resolve(Buffer.concat(chunks))).on('error', reject);
      body.on('close', () => reject(new Error('closed before its end')));
    });
    this.whole.catch(() => {});
  }
}
