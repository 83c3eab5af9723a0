import { mkdir, readdir, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import test from 'ava';
import type { Store } from '../../../src/contract/store.js';
import { createHandler } from '../../../src/handler/handler.js';
import { directoryStore } from '../../../src/stores/directory/store.js';
import { memoryStore } from '../../../src/stores/memory.js';
import { request } from '../../helpers/client.js';
import { collectEvents } from '../../helpers/events.js';
import { until } from '../../helpers/poll.js';
import { startServer } from '../../helpers/servers.js';
import { content, entriesBelow, never, put, refusal, temporaryDirectory } from '../fixture.js';
import { type Listener, lookUp, read, WIRES } from '../upstream/fixture.js';
import { createTiered, getArtifact, readBytes, respondWith, serveMap, startTiers } from './fixture.js';

const SMALL = content(20_000);
const LARGE = content(8_000_000);

for (const wire of WIRES) {
  test(`${wire}: downloads an artifact from the remote store once and stores it locally`, async (t) => {
    const { store, local, peer } = await startTiers(t, respondWith(LARGE), {}, wire);
    t.true(LARGE.equals((await readBytes(store, 'a/b')) ?? Buffer.of()));
    await until('the download is complete', () => store.stats().flights === 0);
    t.is((await getArtifact(store, 'a/b')).kind, 'file');
    t.true(LARGE.equals((await readBytes(store, 'a/b')) ?? Buffer.of()));
    t.true(LARGE.equals((await readBytes(local, 'a/b')) ?? Buffer.of()));
    t.deepEqual(peer.requests, ['GET /a/b']);
  });
}

for (const bytes of [Buffer.of(), SMALL, LARGE]) {
  test(`stores a download of ${bytes.byteLength} bytes in a local memory store`, async (t) => {
    const local = memoryStore();
    const { store, peer } = await startTiers(t, respondWith(bytes), { local });
    t.true(bytes.equals((await readBytes(store, 'a')) ?? Buffer.of(1)));
    await until('the download is complete', () => store.stats().flights === 0);
    const hit = store.get('a', { signal: never() });
    t.false(hit instanceof Promise, 'a hit in memory is synchronous');
    t.true(bytes.equals((await readBytes(store, 'a')) ?? Buffer.of(1)));
    t.is(peer.requests.length, 1);
  });
}

test('shares one request between all clients, which receive the bytes as they arrive', async (t) => {
  let finish = (): void => {};
  const { store, local, peer } = await startTiers(t, (_request, response) => {
    response.setHeader('content-length', LARGE.byteLength);
    response.write(LARGE.subarray(0, 1_000_000));
    finish = () => void response.end(LARGE.subarray(1_000_000));
  });
  const clients = await Promise.all(Array.from({ length: 20 }, () => lookUp(store, 'a')));
  const bodies = await Promise.all(clients.map((artifact) => artifact.open(undefined, { signal: never() })));
  const readers = bodies.map((body) => new Progress(body));
  await until('all clients have received the first bytes', () => readers.every(({ bytes }) => bytes === 1_000_000));
  // A client that joins later receives the artifact from its start.
  const late = new Progress(await (await lookUp(store, 'a')).open(undefined, { signal: never() }));
  await until('the late client has received them, too', () => late.bytes === 1_000_000);
  t.is(await readBytes(local, 'a'), undefined, 'not stored before it is complete');
  finish();
  for (const reader of [...readers, late]) t.true(LARGE.equals(await reader.whole));
  await until('the download is complete', () => store.stats().flights === 0);
  t.true(LARGE.equals((await readBytes(local, 'a')) ?? Buffer.of()));
  t.deepEqual(peer.requests, ['GET /a']);
});

test('a client that does not read delays no other client, and can read everything later', async (t) => {
  const spoolDir = await temporaryDirectory(t);
  const { store, local } = await startTiers(t, respondWith(LARGE), { spoolDir });
  const slow = await (await lookUp(store, 'a')).open(undefined, { signal: never() });
  t.true(LARGE.equals((await readBytes(store, 'a')) ?? Buffer.of()));
  await until('the download is complete', () => store.stats().flights === 0);
  t.true(LARGE.equals((await readBytes(local, 'a')) ?? Buffer.of()));
  t.true(slow.readableLength < 300_000, `${slow.readableLength} bytes are buffered`);
  t.deepEqual(await readdir(spoolDir), [], 'the spool file is unlinked');
  await local.delete('a');
  t.true(LARGE.equals(await buffer(slow)));
});

test('writes small artifacts to a file if there is no spool memory', async (t) => {
  const { store, local } = await startTiers(t, respondWith(SMALL), { spoolMemoryBytes: 0 });
  const clients = await Promise.all([lookUp(store, 'a'), lookUp(store, 'a')]);
  for (const body of await Promise.all(clients.map((artifact) => read(artifact)))) t.true(SMALL.equals(body));
  await until('the download is complete', () => store.stats().flights === 0);
  t.true(SMALL.equals((await readBytes(local, 'a')) ?? Buffer.of()));
});

test('releases the spool memory of a completed download', async (t) => {
  // Enough memory for one artifact at a time.
  const spoolDir = await temporaryDirectory(t);
  const { store } = await startTiers(t, respondWith(SMALL), { spoolMemoryBytes: 32_768, spoolDir });
  await rm(spoolDir, { recursive: true });
  for (let count = 0; count < 5; count++) {
    t.true(SMALL.equals((await readBytes(store, `key-${count}`)) ?? Buffer.of()));
    await until('the download is complete', () => store.stats().flights === 0);
  }
});

test('a client that leaves does not cancel the download of the others', async (t) => {
  let finish = (): void => {};
  const { store, local, peer } = await startTiers(t, (_request, response) => {
    response.setHeader('content-length', LARGE.byteLength);
    response.write(LARGE.subarray(0, 1_000_000));
    finish = () => void response.end(LARGE.subarray(1_000_000));
  });
  const first = new AbortController();
  const leaving = await (await lookUp(store, 'a', first.signal)).open(undefined, { signal: first.signal });
  const staying = new Progress(await (await lookUp(store, 'a')).open(undefined, { signal: never() }));
  await until('the first bytes have arrived', () => staying.bytes === 1_000_000);
  first.abort();
  t.true(leaving.destroyed);
  const second = new AbortController();
  const lookup = store.get('a', { signal: second.signal });
  second.abort();
  await t.throwsAsync(lookup as Promise<unknown>, { any: true, name: 'AbortError' });
  finish();
  t.true(LARGE.equals(await staying.whole));
  await until('the download is complete', () => store.stats().flights === 0);
  t.true(LARGE.equals((await readBytes(local, 'a')) ?? Buffer.of()));
  t.is(peer.requests.length, 1);
});

test('cancels the request when the last client leaves before it has read', async (t) => {
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
  await until('the request is closed', () => closed === 1 && store.stats().flights === 0);
  t.true(LARGE.equals((await request(server, { path: '/a' })).body));
  await until('the download is complete', () => store.stats().flights === 0);
  t.true(LARGE.equals((await request(server, { path: '/a' })).body));
  t.is(handler.stats().sent.stream.bytes, LARGE.byteLength, 'the stored artifact is sent as a file');
  t.is(peer.requests.length, 2);
});

const FAILURES: Record<string, (response: Parameters<Listener>[1]) => void> = {
  reset: (response) => void response.destroy(new Error('reset')),
  'end before the length': (response) => response.socket?.end(),
};

for (const [name, fail] of Object.entries(FAILURES)) {
  test(`a failure during the download (${name}) fails its readers and stores nothing`, async (t) => {
    let isUp = false;
    let proceed = (): void => {};
    const { store, local, peer } = await startTiers(
      t,
      (_request, response) => {
        response.setHeader('content-length', LARGE.byteLength);
        if (isUp) return void response.end(LARGE);
        response.write(LARGE.subarray(0, 1_000_000));
        proceed = () => fail(response);
      },
      {},
      'http',
    );
    const bodies = await Promise.all(
      [1, 2].map(async () => (await lookUp(store, 'a')).open(undefined, { signal: never() })),
    );
    const readers = bodies.map((body) => new Progress(body));
    await until('the first bytes have arrived', () => readers.every(({ bytes }) => bytes === 1_000_000));
    proceed();
    for (const { whole } of readers) await t.throwsAsync(whole, refusal('ERR_HOTBLOB_UPSTREAM'));
    await until('the download has ended', () => store.stats().flights === 0);
    t.deepEqual(await entriesBelow(local.root), []);
    isUp = true;
    t.true(LARGE.equals((await readBytes(store, 'a')) ?? Buffer.of()));
    t.is(peer.requests.length, 2);
  });
}

/** Creates a listener that serves `bytes` and ranges of it, with an entity tag. */
function respondWithRange(bytes: Buffer, etag = '"1"'): Listener {
  return (request, response) => {
    const [, start = '0', last = ''] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
    const part = bytes.subarray(Number(start), last === '' ? undefined : Number(last) + 1);
    response.setHeader('etag', etag);
    response.setHeader('content-length', part.byteLength);
    if (last !== '') response.setHeader('content-range', `bytes ${start}-${last}/${bytes.byteLength}`);
    response.writeHead(last === '' ? 200 : 206).end(part);
  };
}

for (const wire of WIRES) {
  test(`${wire}: a download that the remote store aborts is completed with a second request for the rest`, async (t) => {
    let requests = 0;
    const { store, local, peer } = await startTiers(
      t,
      (request, response) => {
        if (requests++ > 0) return respondWithRange(LARGE)(request, response);
        response.setHeader('etag', '"1"');
        response.setHeader('content-length', LARGE.byteLength);
        response.write(LARGE.subarray(0, 1_000_000), () => setImmediate(() => response.destroy(new Error('reset'))));
      },
      {},
      wire,
    );
    t.true(LARGE.equals((await readBytes(store, 'a')) ?? Buffer.of()));
    await until('the download has ended', () => store.stats().flights === 0);
    t.true(LARGE.equals((await readBytes(local, 'a')) ?? Buffer.of()));
    t.deepEqual(peer.requests, ['GET /a', 'GET /a']);
  });
}

test('a download is not completed with bytes of another artifact', async (t) => {
  let requests = 0;
  const { store, local } = await startTiers(t, (request, response) => {
    if (requests++ > 0) return respondWithRange(content(LARGE.byteLength, 7), '"2"')(request, response);
    response.setHeader('etag', '"1"');
    response.setHeader('content-length', LARGE.byteLength);
    response.write(LARGE.subarray(0, 1_000_000), () => setImmediate(() => response.destroy(new Error('reset'))));
  });
  await t.throwsAsync(readBytes(store, 'a'), refusal('ERR_HOTBLOB_UPSTREAM', /has changed/));
  await until('the download has ended', () => store.stats().flights === 0);
  t.deepEqual(await entriesBelow(local.root), []);
});

test('if the spool cannot be written, readers and the local store download the rest themselves', async (t) => {
  const events = collectEvents(t);
  for (const limits of [{ spoolMemoryBytes: 100_000 }, { maxSpoolBytes: LARGE.byteLength + 100_000 }]) {
    const spoolDir = await temporaryDirectory(t);
    const { store, local } = await startTiers(t, respondWithRange(LARGE), { ...limits, spoolDir }, 'http');
    if ('spoolMemoryBytes' in limits) await rm(spoolDir, { recursive: true });
    const keys = ['a', 'b', 'c'];
    const bodies = await Promise.all(keys.flatMap((key) => [readBytes(store, key), readBytes(store, key)]));
    for (const body of bodies) t.true(LARGE.equals(body ?? Buffer.of()));
    await until('the downloads have ended', () => store.stats().flights === 0);
    for (const key of keys) t.true(LARGE.equals((await readBytes(local, key)) ?? Buffer.of()));
  }
  const failures = events.filter(({ event }) => event === 'spool failed').map(({ details }) => details);
  t.true(failures.some((details) => details.includes('ENOENT')));
  t.true(failures.some((details) => details.startsWith('maxSpoolBytes: ')));
});

test('a failure of the local store does not affect the readers', async (t) => {
  const { store, peer } = await startTiers(t, respondWith(LARGE), { local: memoryStore({ maxBytes: 1_000_000 }) });
  for (let count = 1; count <= 2; count++) {
    t.true(LARGE.equals((await readBytes(store, 'a')) ?? Buffer.of()));
    await until('the download has ended', () => store.stats().flights === 0);
    t.is(peer.requests.length, count);
  }
});

test('a body without end is cancelled at the limit of the spool', async (t) => {
  const upstream = endless();
  const { store, local } = await startTiers(t, upstream.listener, { maxSpoolBytes: 3_000_000 });
  const body = await (await lookUp(store, 'a')).open(undefined, { signal: never() });
  await t.throwsAsync(buffer(body), refusal('ERR_HOTBLOB_STORAGE_FULL', /^maxSpoolBytes: .* 3000000 bytes/));
  await upstream.closed;
  await until('the download has ended', () => store.stats().flights === 0);
  t.deepEqual(await entriesBelow(local.root), []);
  // The space is free again.
  const second = await (await lookUp(store, 'a')).open(undefined, { signal: never() });
  await t.throwsAsync(buffer(second), refusal('ERR_HOTBLOB_STORAGE_FULL'));
});

test('a body that the local store does not keep is cancelled when the last client leaves', async (t) => {
  const upstream = endless();
  const { store } = await startTiers(t, upstream.listener, { local: memoryStore({ maxBytes: 1_000_000 }) });
  const clients = [new AbortController(), new AbortController()];
  const bodies = await Promise.all(
    clients.map(async ({ signal }) => (await lookUp(store, 'a')).open(undefined, { signal })),
  );
  const readers = bodies.map((body) => new Progress(body));
  await until('the local store has refused the artifact', () => readers.every(({ bytes }) => bytes > 4_000_000));
  for (const [index, client] of clients.entries()) {
    client.abort();
    await t.throwsAsync(readers[index]?.whole ?? Promise.resolve());
  }
  await upstream.closed;
  await until('the download has ended', () => store.stats().flights === 0);
});

test('an artifact that neither the spool nor the local store can hold is sent to each client', async (t) => {
  const spoolDir = await temporaryDirectory(t);
  for (const options of [{ maxSpoolBytes: 1_000_000 }, { local: memoryStore({ maxBytes: 1_000_000 }) }]) {
    const unused = join(spoolDir, 'unused');
    await mkdir(unused);
    const { store } = await startTiers(t, respondWith(LARGE), { ...options, spoolDir: unused });
    await rmdir(unused);
    const clients = await Promise.all([lookUp(store, 'a'), lookUp(store, 'a')]);
    for (const body of await Promise.all(clients.map((artifact) => read(artifact)))) t.true(LARGE.equals(body));
    await until('the download has ended', () => store.stats().flights === 0);
  }
});

test('an artifact that fills the spool exactly, apart from what its file takes, is sent', async (t) => {
  const { store } = await startTiers(t, respondWith(LARGE), { maxSpoolBytes: LARGE.byteLength });
  t.true(LARGE.equals((await readBytes(store, 'a')) ?? Buffer.alloc(0)));
});

test('an artifact that the local store refuses at once is sent', async (t) => {
  const bytes = content(1000);
  const metadata = { headers: { 'x-artifact-note': 'x'.repeat(10_000) } };
  const remote: Store = { get: () => ({ kind: 'bytes', bytes, ...metadata }) };
  const store = await createTiered(t, { local: memoryStore(), remote });
  t.true(bytes.equals((await readBytes(store, 'a')) ?? Buffer.alloc(0)));
});

/** Returns a listener whose response never ends, and a promise that resolves when its connection or stream is closed. */
function endless(): { readonly listener: Listener; readonly closed: Promise<void> } {
  let onClosed = (): void => {};
  const closed = new Promise<void>((resolve) => {
    onClosed = resolve;
  });
  const chunk = content(64 * 1024);
  return {
    closed,
    listener: (_request, response) => {
      response.on('close', onClosed);
      const write = (): void => {
        while (!response.destroyed && response.write(chunk));
      };
      response.on('drain', write);
      write();
    },
  };
}

test('reads a near range from the download, and requests a distant one separately', async (t) => {
  const ranges: unknown[] = [];
  const { store } = await startTiers(t, (request, response) => {
    const { range } = request.headers;
    ranges.push(range);
    const [, start = 0, end = 0] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '')?.map(Number) ?? [];
    const part = range === undefined ? LARGE : LARGE.subarray(start, end + 1);
    response.statusCode = range === undefined ? 200 : 206;
    response.setHeader('content-length', part.byteLength);
    if (range !== undefined) response.setHeader('content-range', `bytes ${start}-${end}/${LARGE.byteLength}`);
    // The response to the whole artifact stays incomplete.
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

test('returns the metadata of an artifact and stores it locally', async (t) => {
  const { store, local, peer } = await startTiers(t, (request, response) => {
    response.setHeader('etag', '"v1"');
    response.setHeader('content-type', 'text/x-artifact');
    response.setHeader('x-artifact-tag', `of ${request.url}`);
    if (request.url === '/encoded') response.setHeader('content-encoding', 'gzip');
    response.end('x');
  });
  for (const key of ['plain', 'encoded']) {
    const metadata = {
      contentType: 'text/x-artifact',
      contentEncoding: key === 'encoded' ? 'gzip' : undefined,
      headers: { 'x-artifact-tag': `of /${key}` },
    };
    t.like(await getArtifact(store, key), { ...metadata, etag: '"v1"' });
    t.is((await readBytes(store, key))?.toString(), 'x');
    await until('the download has ended', () => store.stats().flights === 0);
    t.like(await getArtifact(local, key), metadata);
    t.like(await getArtifact(store, key), metadata);
  }
  t.deepEqual(peer.requests, ['GET /plain', 'GET /encoded']);
});

test('returns metadata that is too large, but does not store the artifact', async (t) => {
  const tag = 'x'.repeat(5000);
  const { store, local } = await startTiers(t, (_request, response) => {
    response.setHeader('x-artifact-tag', tag);
    response.end('x');
  });
  t.deepEqual((await getArtifact(store, 'a')).headers, { 'x-artifact-tag': tag });
  t.is((await readBytes(store, 'a'))?.toString(), 'x');
  await until('the download has ended', () => store.stats().flights === 0);
  t.deepEqual(await entriesBelow(local.root), []);
});

test('a directory stores no metadata file for default headers', async (t) => {
  const { store, local } = await startTiers(t, (_request, response) => {
    response.setHeader('content-type', 'application/octet-stream');
    response.setHeader('cache-control', 'no-transform');
    response.setHeader('x-content-type-options', 'nosniff');
    response.end('x');
  });
  t.is((await readBytes(store, 'a'))?.toString(), 'x');
  await until('the download has ended', () => store.stats().flights === 0);
  t.deepEqual(await entriesBelow(local.root), ['a']);
});

test.serial('remembers a miss until it expires or the key is uploaded', async (t) => {
  const artifacts = new Map<string, Buffer>();
  const { store, peer } = await startTiers(t, serveMap(artifacts), { missTtlMs: 400, maxMisses: 2 });
  for (let count = 0; count < 5; count++) t.is(await readBytes(store, 'a'), undefined);
  t.is(peer.requests.length, 1);
  artifacts.set('/a', SMALL);
  await until('the miss has expired', async () => SMALL.equals((await readBytes(store, 'a')) ?? Buffer.of()));
  t.is(peer.requests.length, 2);
  for (const key of ['b', 'c', 'd']) t.is(await readBytes(store, key), undefined);
  t.is(store.stats().rememberedMisses, 2);
  await put(store as Required<typeof store>, 'd', SMALL);
  t.is(store.stats().rememberedMisses, 1);
});

test('an upload during a download replaces what the download would store', async (t) => {
  let finish = (): void => {};
  const { store, local } = await startTiers(t, (request, response) => {
    if (request.method === 'PUT') return void request.resume().on('end', () => response.end());
    response.setHeader('content-length', LARGE.byteLength);
    response.write(LARGE.subarray(0, 1_000_000));
    finish = () => void response.end(LARGE.subarray(1_000_000));
  });
  const oldVersion = new Progress(await (await lookUp(store, 'a')).open(undefined, { signal: never() }));
  await until('the first bytes have arrived', () => oldVersion.bytes === 1_000_000);
  await put(store as Required<typeof store>, 'a', SMALL);
  t.true(SMALL.equals((await readBytes(store, 'a')) ?? Buffer.of()));
  finish();
  t.true(LARGE.equals(await oldVersion.whole), 'a reader of the old version gets it to its end');
  await until('the download has ended', () => store.stats().flights === 0);
  t.true(SMALL.equals((await readBytes(local, 'a')) ?? Buffer.of()));
  t.deepEqual(await entriesBelow(local.root), ['a']);
});

test('close ends the downloads but closes neither store', async (t) => {
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
  t.is(await readBytes(store, 'd'), undefined);
  await t.throwsAsync(put(store as Required<typeof store>, 'a', SMALL), refusal('ERR_HOTBLOB_CLOSED'));
  t.is((await readBytes(remote, 'b'))?.toString(), 'x');
  await put(local, 'e', SMALL);
  t.deepEqual(await entriesBelow(local.root), ['e']);
});

test('accepts remote stores that return files or bytes', async (t) => {
  const directory = await startTiers(t, respondWith(LARGE));
  await put(directory.local, 'file', LARGE);
  const memory = memoryStore();
  await put(memory, 'bytes', SMALL);
  for (const [remote, key, bytes] of [
    [directory.local, 'file', LARGE],
    [memory, 'bytes', SMALL],
  ] as const) {
    const local = memoryStore();
    const store = await createTiered(t, { local, remote });
    t.is(await readBytes(store, 'miss'), undefined);
    t.true(bytes.equals((await readBytes(store, key)) ?? Buffer.of()));
    await until('the download is complete', () => store.stats().flights === 0);
    t.true(bytes.equals(Buffer.from(local.get(key)?.bytes ?? [])));
  }
});

/** Reads a body as fast as possible and counts its bytes. */
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
      body.on('close', () => reject(new Error('closed before the end')));
    });
    this.whole.catch(() => {});
  }
}

test('an artifact that the local store has just evicted or deleted is read from the remote store', async (t) => {
  const local = await directoryStore(await temporaryDirectory(t), { maxBytes: 55_000 });
  const store = await createTiered(t, { local, remote: memoryStore() });
  for (const [key, remove] of [
    ['evicted', () => put(local, 'other', content(20_000))],
    ['deleted', () => local.delete('deleted')],
    ['deleted', () => local.delete('deleted')],
  ] as const) {
    await put(store as Required<typeof store>, key, content(20_000, 1));
    t.is((await store.get(key))?.kind, 'file');
    await remove();
    t.true((await readBytes(store, key))?.equals(content(20_000, 1)), key);
  }
});
