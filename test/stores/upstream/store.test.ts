import test from 'ava';
import { createHandler } from '../../../src/handler/handler.js';
import { memoryStore } from '../../../src/stores/memory.js';
import { upstreamStore } from '../../../src/stores/upstream/store.js';
import { until } from '../../helpers/poll.js';
import { type Kind, startServer } from '../../helpers/servers.js';
import { bodyOf, content, never, put, refusal } from '../fixture.js';
import { chunked, found, isHttp2, read, startPeer, storeOf, WIRES } from './fixture.js';

const BYTES = content(300_000);
const LARGE = content(9_000_000);

// This package's own server, by each way that leads to it.
const OWN: readonly (readonly [Kind, { h2c?: boolean }])[] = [
  ['port-http', {}],
  ['port-h2c', { h2c: true }],
  ['port-h2', {}],
  ['https', {}],
];

for (const [kind, options] of OWN) {
  test(`${kind}: put, get, overwrite, ranges, delete`, async (t) => {
    const server = await startServer(t, kind, createHandler({ store: memoryStore(), mountPath: '/cache' }));
    const scheme = server.tls ? 'https' : 'http';
    const ca = server.certificate?.cert;
    const store = upstreamStore(`${scheme}://127.0.0.1:${server.port}/cache`, { ...options, ca });
    t.teardown(() => store.close());

    t.is(await store.get('a/b', { signal: never() }), undefined);
    const { etag } = await put(store, 'a/b', BYTES);
    const artifact = await found(store, 'a/b');
    t.is(artifact.size, BYTES.byteLength);
    t.is(artifact.etag, etag);
    t.true(BYTES.equals(await read(artifact)));

    const other = content(100_000, 7);
    await store.put('a/b', chunked(other), { signal: never() });
    const now = await found(store, 'a/b');
    t.true(other.equals(await read(now)));
    for (const [start, end] of [
      [0, 1],
      [50_000, 99_999],
      [99_999, 100_000],
    ] as const) {
      t.true(other.subarray(start, end).equals(await read(now, { start, end })), `${start} to ${end}`);
    }

    const failure = new Error('the client is gone');
    for (const size of [undefined, 2_000_000]) {
      const body = bodyOf([content(500_000), content(500_000), content(500_000)], failure);
      t.is(await t.throwsAsync(store.put('cut off', body, { signal: never(), size })), failure);
      t.is(await store.get('cut off', { signal: never() }), undefined);
    }
    // All the bytes that were announced, and then a failure: a digest that does not match.
    const wrong = bodyOf([content(100_000), content(100_000)], failure);
    t.is(await t.throwsAsync(store.put('wrong', wrong, { signal: never(), size: 200_000 })), failure);
    t.is(await store.get('wrong', { signal: never() }), undefined);

    await put(store, 'empty', '');
    t.is((await read(await found(store, 'empty'))).byteLength, 0);
    t.true(await store.delete('a/b'));
    t.false(await store.delete('a/b'));
    t.is(await store.get('a/b', { signal: never() }), undefined);
  });

  test(`${kind}: keys that a URL would read otherwise, and large bodies`, async (t) => {
    const server = await startServer(t, kind, createHandler({ store: memoryStore() }));
    const ca = server.certificate?.cert;
    const store = upstreamStore(`${server.tls ? 'https' : 'http'}://127.0.0.1:${server.port}`, { ...options, ca });
    t.teardown(() => store.close());
    for (const key of ['a b/c?d#e', '100%25', 'ä/ö', ':colon', "it's+&=", '~']) {
      await put(store, key, key);
      t.is((await read(await found(store, key))).toString(), key);
    }
    await store.put('large', chunked(LARGE, 100_000), { signal: never(), size: LARGE.byteLength });
    t.true(LARGE.equals(await read(await found(store, 'large'))));
    await t.throwsAsync(store.get('a/../b', { signal: never() }), refusal('ERR_HOTBLOB_INVALID_KEY'));
    await t.throwsAsync(store.get('\ud800', { signal: never() }), refusal('ERR_HOTBLOB_INVALID_KEY'));
  });
}

for (const wire of WIRES) {
  test(`${wire}: what the peer says of an artifact is kept`, async (t) => {
    const peer = await startPeer(t, wire, (_request, response) => {
      response.setHeader('etag', 'W/"v1"');
      response.setHeader('last-modified', 'Tue, 03 Mar 2026 10:00:00 GMT');
      response.setHeader('content-type', 'application/vnd.gradle.build-cache-artifact.v2');
      response.setHeader('content-encoding', 'zstd');
      response.setHeader('cache-control', 'max-age=60');
      response.end('x');
    });
    const artifact = await found(storeOf(t, peer), 'key');
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

  test(`${wire}: a download is one request, a range another, of those bytes alone`, async (t) => {
    const ranges: unknown[] = [];
    const peer = await startPeer(t, wire, (request, response) => {
      const { range } = request.headers;
      ranges.push(range);
      const [, start = 0, end = 0] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '')?.map(Number) ?? [];
      const part = range === undefined ? BYTES : BYTES.subarray(start, end + 1);
      response.statusCode = range === undefined ? 200 : 206;
      response.setHeader('content-length', part.byteLength);
      if (range !== undefined) response.setHeader('content-range', `bytes ${start}-${end}/${BYTES.byteLength}`);
      response.end(part);
    });
    const store = storeOf(t, peer);
    t.true(BYTES.equals(await read(await found(store, 'a'))));
    t.deepEqual(peer.requests, ['GET /a']);
    const part = await read(await found(store, 'a'), { start: 1000, end: 200_000 });
    t.true(BYTES.subarray(1000, 200_000).equals(part));
    t.deepEqual(ranges, [undefined, undefined, 'bytes=1000-199999']);
  });

  test(`${wire}: of a peer that knows no ranges, the rest is left out`, async (t) => {
    const peer = await startPeer(t, wire, (_request, response) => {
      response.setHeader('content-length', LARGE.byteLength);
      response.end(LARGE);
    });
    const store = storeOf(t, peer);
    const part = await read(await found(store, 'a'), { start: 100_000, end: 200_000 });
    t.true(LARGE.subarray(100_000, 200_000).equals(part));
  });

  test(`${wire}: a body without a length`, async (t) => {
    const peer = await startPeer(t, wire, (_request, response) => {
      response.write(BYTES.subarray(0, 1000));
      response.end(BYTES.subarray(1000));
    });
    const artifact = await found(storeOf(t, peer), 'a');
    t.is(artifact.size, undefined);
    t.true(BYTES.equals(await read(artifact)));
  });

  test(`${wire}: who leaves before the body ends the request; who comes late starts another`, async (t) => {
    let cutOff = 0;
    const peer = await startPeer(t, wire, (_request, response) => {
      response.setHeader('content-length', LARGE.byteLength);
      // Those that nobody is to read never end: the kernel could take all of their bytes.
      const isLeft = peer.requests.length % 2 === 1;
      if (isLeft) response.on('close', () => cutOff++).write(LARGE.subarray(1));
      else response.end(LARGE);
    });
    const store = storeOf(t, peer, { unopenedTimeoutMs: 20 });
    const client = new AbortController();
    const left = await found(store, 'a', client.signal);
    client.abort();
    await until('the first is cut off', () => cutOff === 1);
    t.true(LARGE.equals(await read(left)), 'opened all the same');
    const late = await found(store, 'a');
    await until('the one that nobody opens is cut off', () => cutOff === 2);
    t.true(LARGE.equals(await read(late)));
    t.is(peer.requests.length, 4);
  });

  test(`${wire}: an artifact that changes in between is not mixed with itself`, async (t) => {
    let version = 1;
    const peer = await startPeer(t, wire, (_request, response) => {
      response.setHeader('etag', `"${version}"`);
      response.setHeader('content-length', BYTES.byteLength);
      response.end(BYTES);
    });
    const store = storeOf(t, peer);
    const artifact = await found(store, 'a');
    version = 2;
    await t.throwsAsync(read(artifact, { start: 0, end: 10 }), refusal('ERR_HOTBLOB_UPSTREAM', /changed/));
  });

  test(`${wire}: requests at the same time share ${isHttp2(wire) ? 'one session' : 'no more connections than allowed'}`, async (t) => {
    const peer = await startPeer(t, wire, (request, response) => response.end(request.url));
    const store = storeOf(t, peer, { maxConnections: 3 });
    const keys = Array.from({ length: 50 }, (_, index) => `key-${index}`);
    const bodies = await Promise.all(keys.map(async (key) => (await read(await found(store, key))).toString()));
    t.deepEqual(
      bodies,
      keys.map((key) => `/${key}`),
    );
    if (isHttp2(wire)) t.is(peer.sessions.length, 1);
    // Over TLS one more: the first connection is there to ask what the peer speaks.
    t.true(peer.connections.length <= (wire === 'https' ? 4 : 3), `${peer.connections.length} connections`);
  });
}

test('the query of the URL goes with every request', async (t) => {
  const peer = await startPeer(t, 'http', (request, response) => request.resume().on('end', () => response.end()));
  const store = upstreamStore(`${peer.url}base?team=a%20b`);
  t.teardown(() => store.close());
  await put(store, 'k', 'x');
  await read(await found(store, 'k'));
  t.deepEqual(peer.requests, ['PUT /base/k?team=a%20b', 'GET /base/k?team=a%20b']);
});

test('a miss keeps its connection', async (t) => {
  const peer = await startPeer(t, 'http', (_request, response) => {
    response.statusCode = 404;
    response.end('{"message":"Not found."}');
  });
  const store = storeOf(t, peer);
  for (let count = 0; count < 10; count++) t.is(await store.get('a', { signal: never() }), undefined);
  // The second lookup may begin before the first has let go of its connection.
  t.true(peer.connections.length <= 2, `${peer.connections.length} connections`);
});

for (const status of [204, 404, 410]) {
  test(`${status} is a miss`, async (t) => {
    const peer = await startPeer(t, 'http', (_request, response) => void response.writeHead(status).end());
    t.is(await storeOf(t, peer).get('a', { signal: never() }), undefined);
  });
}

test('a closed store answers no more, and ends what is in flight', async (t) => {
  for (const wire of WIRES) {
    const peer = await startPeer(t, wire, (_request, response) => {
      response.setHeader('content-length', BYTES.byteLength);
      response.write('x');
    });
    const store = storeOf(t, peer);
    const reading = read(await found(store, 'a'));
    await store.close();
    await t.throwsAsync(reading, refusal('ERR_HOTBLOB_UPSTREAM'), wire);
    await t.throwsAsync(store.get('a', { signal: never() }), refusal('ERR_HOTBLOB_OVERLOADED'), wire);
  }
});
