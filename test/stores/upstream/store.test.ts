import test from 'ava';
import { createHandler } from '../../../src/handler/handler.js';
import { memoryStore } from '../../../src/stores/memory.js';
import { upstreamStore } from '../../../src/stores/upstream/store.js';
import { until } from '../../helpers/poll.js';
import { type Kind, startServer } from '../../helpers/servers.js';
import { bodyOf, content, never, put, refusal } from '../fixture.js';
import { isHttp2, lookUp, read, startUpstream, storeOf, streamOf, WIRES } from './fixture.js';

const BYTES = content(300_000);
const LARGE = content(9_000_000);

// Kinds of hotblob servers and the options to reach them.
const HOTBLOB_SERVERS: readonly (readonly [Kind, { h2c?: boolean }])[] = [
  ['port-http', {}],
  ['port-h2c', { h2c: true }],
  ['port-h2', {}],
  ['https', {}],
];

for (const [kind, options] of HOTBLOB_SERVERS) {
  test(`${kind}: stores, reads, overwrites and deletes artifacts, and reads ranges`, async (t) => {
    const server = await startServer(t, kind, createHandler({ store: memoryStore(), mountPath: '/cache' }));
    const scheme = server.tls ? 'https' : 'http';
    const ca = server.certificate?.cert;
    const store = upstreamStore(`${scheme}://127.0.0.1:${server.port}/cache`, { ...options, ca });
    t.teardown(() => store.close());

    t.is(await store.get('a/b', { signal: never() }), undefined);
    const { etag } = await put(store, 'a/b', BYTES);
    const artifact = await lookUp(store, 'a/b');
    t.is(artifact.size, BYTES.byteLength);
    t.is(artifact.etag, etag);
    t.true(BYTES.equals(await read(artifact)));

    const other = content(100_000, 7);
    await store.put('a/b', streamOf(other), { signal: never() });
    const now = await lookUp(store, 'a/b');
    t.true(other.equals(await read(now)));
    for (const [start, end] of [
      [0, 1],
      [50_000, 99_999],
      [99_999, 100_000],
    ] as const) {
      t.true(other.subarray(start, end).equals(await read(now, { start, end })), `bytes ${start} to ${end}`);
    }

    const failure = new Error('the client has disconnected');
    for (const size of [undefined, 2_000_000]) {
      const body = bodyOf([content(500_000), content(500_000), content(500_000)], failure);
      t.is(await t.throwsAsync(store.put('truncated', body, { signal: never(), size })), failure);
      t.is(await store.get('truncated', { signal: never() }), undefined);
    }
    // All announced bytes arrive, and then the body fails, as it does for a digest mismatch.
    const wrong = bodyOf([content(100_000), content(100_000)], failure);
    t.is(await t.throwsAsync(store.put('wrong', wrong, { signal: never(), size: 200_000 })), failure);
    t.is(await store.get('wrong', { signal: never() }), undefined);

    await put(store, 'empty', '');
    t.is((await read(await lookUp(store, 'empty'))).byteLength, 0);
    t.true(await store.delete('a/b'));
    t.false(await store.delete('a/b'));
    t.is(await store.get('a/b', { signal: never() }), undefined);
  });

  test(`${kind}: stores artifacts under keys with special characters, and large artifacts`, async (t) => {
    const server = await startServer(t, kind, createHandler({ store: memoryStore() }));
    const ca = server.certificate?.cert;
    const store = upstreamStore(`${server.tls ? 'https' : 'http'}://127.0.0.1:${server.port}`, { ...options, ca });
    t.teardown(() => store.close());
    for (const key of ['a b/c?d#e', '100%25', 'ä/ö', ':colon', "it's+&=", '~']) {
      await put(store, key, key);
      t.is((await read(await lookUp(store, key))).toString(), key);
    }
    await store.put('large', streamOf(LARGE, 100_000), { signal: never(), size: LARGE.byteLength });
    t.true(LARGE.equals(await read(await lookUp(store, 'large'))));
    await t.throwsAsync(store.get('a/../b', { signal: never() }), refusal('ERR_HOTBLOB_INVALID_KEY'));
    await t.throwsAsync(store.get('\ud800', { signal: never() }), refusal('ERR_HOTBLOB_INVALID_KEY'));
  });
}

for (const wire of WIRES) {
  test(`${wire}: an artifact has the metadata of the response`, async (t) => {
    const upstream = await startUpstream(t, wire, (_request, response) => {
      response.setHeader('etag', 'W/"v1"');
      response.setHeader('last-modified', 'Tue, 03 Mar 2026 10:00:00 GMT');
      response.setHeader('content-type', 'application/vnd.gradle.build-cache-artifact.v2');
      response.setHeader('content-encoding', 'zstd');
      response.setHeader('cache-control', 'max-age=60');
      response.end('x');
    });
    const artifact = await lookUp(storeOf(t, upstream), 'key');
    const { etag, lastModified, contentType, contentEncoding, cacheControl } = artifact;
    t.deepEqual(
      { etag, lastModified, contentType, contentEncoding, cacheControl },
      {
        etag: 'W/"v1"',
        lastModified: new Date('2026-03-03T10:00:00Z'),
        contentType: 'application/vnd.gradle.build-cache-artifact.v2',
        contentEncoding: 'zstd',
        cacheControl: 'max-age=60',
      },
    );
    t.is((await read(artifact)).toString(), 'x');
  });

  test(`${wire}: a download takes one request, and a range another one for only its bytes`, async (t) => {
    const ranges: unknown[] = [];
    const upstream = await startUpstream(t, wire, (request, response) => {
      const { range } = request.headers;
      ranges.push(range);
      const [, start = 0, end = 0] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '')?.map(Number) ?? [];
      const part = range === undefined ? BYTES : BYTES.subarray(start, end + 1);
      response.statusCode = range === undefined ? 200 : 206;
      response.setHeader('content-length', part.byteLength);
      if (range !== undefined) response.setHeader('content-range', `bytes ${start}-${end}/${BYTES.byteLength}`);
      response.end(part);
    });
    const store = storeOf(t, upstream);
    t.true(BYTES.equals(await read(await lookUp(store, 'a'))));
    t.deepEqual(upstream.requests, ['GET /a']);
    const part = await read(await lookUp(store, 'a'), { start: 1000, end: 200_000 });
    t.true(BYTES.subarray(1000, 200_000).equals(part));
    t.deepEqual(ranges, [undefined, undefined, 'bytes=1000-199999']);
  });

  test(`${wire}: reads a range from an upstream without range support`, async (t) => {
    const upstream = await startUpstream(t, wire, (_request, response) => {
      response.setHeader('content-length', LARGE.byteLength);
      response.end(LARGE);
    });
    const store = storeOf(t, upstream);
    const part = await read(await lookUp(store, 'a'), { start: 100_000, end: 200_000 });
    t.true(LARGE.subarray(100_000, 200_000).equals(part));
  });

  test(`${wire}: reads a response without Content-Length`, async (t) => {
    const upstream = await startUpstream(t, wire, (_request, response) => {
      response.write(BYTES.subarray(0, 1000));
      response.end(BYTES.subarray(1000));
    });
    const artifact = await lookUp(storeOf(t, upstream), 'a');
    t.is(artifact.size, undefined);
    t.true(BYTES.equals(await read(artifact)));
  });

  test(`${wire}: an unopened response is cancelled on abort or after a timeout, and opening it sends another request`, async (t) => {
    let cancelled = 0;
    const upstream = await startUpstream(t, wire, (_request, response) => {
      response.setHeader('content-length', LARGE.byteLength);
      // Responses that are cancelled never end: otherwise socket buffers could take all of their bytes.
      const isCancelled = upstream.requests.length % 2 === 1;
      if (isCancelled) response.on('close', () => cancelled++).write(LARGE.subarray(1));
      else response.end(LARGE);
    });
    const store = storeOf(t, upstream, { unopenedTimeoutMs: 20 });
    const client = new AbortController();
    const aborted = await lookUp(store, 'a', client.signal);
    client.abort();
    await until('the aborted response is cancelled', () => cancelled === 1);
    t.true(LARGE.equals(await read(aborted)));
    const late = await lookUp(store, 'a');
    await until('the unopened response is cancelled', () => cancelled === 2);
    t.true(LARGE.equals(await read(late)));
    t.is(upstream.requests.length, 4);
  });

  test(`${wire}: opening a range fails if the artifact has changed since the lookup`, async (t) => {
    let version = 1;
    const upstream = await startUpstream(t, wire, (_request, response) => {
      response.setHeader('etag', `"${version}"`);
      response.setHeader('content-length', BYTES.byteLength);
      response.end(BYTES);
    });
    const store = storeOf(t, upstream);
    const artifact = await lookUp(store, 'a');
    version = 2;
    await t.throwsAsync(read(artifact, { start: 0, end: 10 }), refusal('ERR_HOTBLOB_UPSTREAM', /changed/));
  });

  test(`${wire}: concurrent requests use ${isHttp2(wire) ? 'one session' : 'at most maxConnections connections'}`, async (t) => {
    const upstream = await startUpstream(t, wire, (request, response) => response.end(request.url));
    const store = storeOf(t, upstream, { maxConnections: 3 });
    const keys = Array.from({ length: 50 }, (_, index) => `key-${index}`);
    const bodies = await Promise.all(keys.map(async (key) => (await read(await lookUp(store, key))).toString()));
    t.deepEqual(
      bodies,
      keys.map((key) => `/${key}`),
    );
    if (isHttp2(wire)) t.is(upstream.sessions.length, 1);
    // Over TLS one more, which negotiates the protocol.
    t.true(upstream.connections.length <= (wire === 'https' ? 4 : 3), `${upstream.connections.length} connections`);
  });
}

test('every request has the query of the URL', async (t) => {
  const upstream = await startUpstream(t, 'http', (request, response) =>
    request.resume().on('end', () => response.end()),
  );
  const store = upstreamStore(`${upstream.url}base?team=a%20b`);
  t.teardown(() => store.close());
  await put(store, 'k', 'x');
  await read(await lookUp(store, 'k'));
  t.deepEqual(upstream.requests, ['PUT /base/k?team=a%20b', 'GET /base/k?team=a%20b']);
});

test('get and put work without options', async (t) => {
  const upstream = await startUpstream(t, 'http', (request, response) => {
    request.resume().on('end', () => response.end('x'));
  });
  const store = storeOf(t, upstream);
  t.is((await store.put('a', streamOf(BYTES))).created, undefined, 'the response does not say it');
  t.is((await store.get('a'))?.size, 1);
  t.deepEqual(upstream.requests, ['PUT /a', 'GET /a']);
});

test('a miss keeps its connection open for the next request', async (t) => {
  const upstream = await startUpstream(t, 'http', (_request, response) => {
    response.statusCode = 404;
    response.end('{"message":"Not found."}');
  });
  const store = storeOf(t, upstream);
  for (let count = 0; count < 10; count++) t.is(await store.get('a', { signal: never() }), undefined);
  // The second lookup may begin before the first has released its connection.
  t.true(upstream.connections.length <= 2, `${upstream.connections.length} connections`);
});

for (const status of [204, 404, 410]) {
  test(`returns undefined for status ${status}`, async (t) => {
    const upstream = await startUpstream(t, 'http', (_request, response) => void response.writeHead(status).end());
    t.is(await storeOf(t, upstream).get('a', { signal: never() }), undefined);
  });
}

test('close() aborts downloads in flight, and later requests reject with ERR_HOTBLOB_CLOSED', async (t) => {
  for (const wire of WIRES) {
    const upstream = await startUpstream(t, wire, (_request, response) => {
      response.setHeader('content-length', BYTES.byteLength);
      response.write('x');
    });
    const store = storeOf(t, upstream);
    const reading = read(await lookUp(store, 'a'));
    await store.close();
    await t.throwsAsync(reading, refusal('ERR_HOTBLOB_UPSTREAM'), wire);
    await t.throwsAsync(store.get('a'), refusal('ERR_HOTBLOB_CLOSED'), wire);
    const body = bodyOf([BYTES]);
    await t.throwsAsync(store.put('a', body), refusal('ERR_HOTBLOB_CLOSED'), wire);
    t.true(body.destroyed, wire);
    await t.throwsAsync(store.delete('a'), refusal('ERR_HOTBLOB_CLOSED'), wire);
  }
});
