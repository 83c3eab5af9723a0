import { once } from 'node:events';
import { constants } from 'node:http2';
import net, { type Socket } from 'node:net';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import test from 'ava';
import { upstreamStore } from '../../../src/stores/upstream/store.js';
import { settled, until } from '../../helpers/poll.js';
import { bodyOf, content, never, put, refusal } from '../fixture.js';
import { isHttp2, listen, lookUp, read, startUpstream, storeOf, streamOf, WIRES } from './fixture.js';

const BYTES = content(300_000);
const { NGHTTP2_REFUSED_STREAM, NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR } = constants;

for (const wire of WIRES) {
  test(`${wire}: rejects with ERR_HOTBLOB_UPSTREAM when nothing listens at the address`, async (t) => {
    const upstream = await startUpstream(t, wire, () => {});
    const unreachable = upstreamStore(
      `${upstream.url.startsWith('https') ? 'https' : 'http'}://127.0.0.1:1/`,
      upstream.options,
    );
    await t.throwsAsync(unreachable.get('a', { signal: never() }), refusal('ERR_HOTBLOB_UPSTREAM', /ECONNREFUSED/));
    const body = bodyOf([BYTES]);
    await t.throwsAsync(unreachable.put('a', body, { signal: never() }), refusal('ERR_HOTBLOB_UPSTREAM'));
    t.true(body.destroyed);
  });

  test(`${wire}: rejects with a timeout when no response arrives, and does not retry`, async (t) => {
    const upstream = await startUpstream(t, wire, (request) => void request.resume());
    const store = storeOf(t, upstream, { firstByteTimeoutMs: 100 });
    await t.throwsAsync(
      store.get('a', { signal: never() }),
      refusal('ERR_HOTBLOB_UPSTREAM_TIMEOUT', /response headers within 100 ms \(firstByteTimeoutMs\)/),
    );
    await t.throwsAsync(
      put(store, 'a', BYTES),
      refusal('ERR_HOTBLOB_UPSTREAM_TIMEOUT', /response headers within 100 ms \(firstByteTimeoutMs\)/),
    );
    await t.throwsAsync(store.delete('a'), refusal('ERR_HOTBLOB_UPSTREAM_TIMEOUT'));
    t.deepEqual(upstream.requests, ['GET /a', 'PUT /a', 'DELETE /a'], 'no retry');
  });

  test(`${wire}: opens another connection after a request timed out`, async (t) => {
    const upstream = await startUpstream(t, wire, (request, response) => {
      if (request.url !== '/silent') response.end('x');
    });
    const store = storeOf(t, upstream, { firstByteTimeoutMs: 1000 });
    await read(await lookUp(store, 'a'));
    const before = upstream.connections.length;
    await t.throwsAsync(store.get('silent', { signal: never() }), refusal('ERR_HOTBLOB_UPSTREAM_TIMEOUT'));
    await read(await lookUp(store, 'b'));
    t.is(upstream.connections.length, before + 1);
  });

  test(`${wire}: the download fails with a timeout when the response body stalls`, async (t) => {
    const upstream = await startUpstream(t, wire, (_request, response) => {
      response.setHeader('content-length', BYTES.byteLength);
      response.write(BYTES.subarray(0, 1000));
    });
    const artifact = await lookUp(storeOf(t, upstream, { stallTimeoutMs: 100 }), 'a');
    await t.throwsAsync(
      read(artifact),
      refusal('ERR_HOTBLOB_UPSTREAM_TIMEOUT', /data of the response body within 100 ms \(stallTimeoutMs\)/),
    );
  });

  test(`${wire}: a slow reader does not cause a stall timeout`, async (t) => {
    const upstream = await startUpstream(t, wire, (_request, response) => {
      response.setHeader('content-length', 30 * BYTES.byteLength);
      for (let count = 0; count < 30; count++) response.write(BYTES);
      response.end();
    });
    const artifact = await lookUp(storeOf(t, upstream, { stallTimeoutMs: 1000 }), 'a');
    const body = await artifact.open(undefined, { signal: never() });
    let bytes = 0;
    for await (const chunk of body) {
      // Longer than the stall timeout, while the flow-control window is full.
      if (bytes === 0) await new Promise((resolve) => setTimeout(resolve, 1500));
      bytes += chunk.byteLength;
    }
    t.is(bytes, 30 * BYTES.byteLength);
  });

  for (const length of ['with Content-Length', 'without Content-Length'] as const) {
    test(`${wire}: the download fails when a response body ${length} is truncated`, async (t) => {
      const upstream = await startUpstream(t, wire, (_request, response) => {
        if (length === 'with Content-Length') response.setHeader('content-length', BYTES.byteLength);
        response.write(BYTES.subarray(0, 100_000), () => {
          if ('stream' in response) (response.stream as { close(code: number): void }).close(NGHTTP2_INTERNAL_ERROR);
          else response.destroy();
        });
      });
      const store = storeOf(t, upstream);
      await t.throwsAsync(read(await lookUp(store, 'a')), refusal('ERR_HOTBLOB_UPSTREAM'));
      t.is(upstream.requests.length, 1, 'a download that has begun is not retried');
    });
  }

  test(`${wire}: the download fails when its connection is destroyed`, async (t) => {
    const upstream = await startUpstream(t, wire, (_request, response) => {
      response.setHeader('content-length', BYTES.byteLength);
      response.write(BYTES.subarray(0, 100_000));
    });
    const store = storeOf(t, upstream);
    const body = await (await lookUp(store, 'a')).open(undefined, { signal: never() });
    await once(body, 'readable');
    for (const socket of upstream.connections) socket.destroy();
    await t.throwsAsync(drain(body), refusal('ERR_HOTBLOB_UPSTREAM'));
  });

  for (const [status, code] of [
    [503, 'ERR_HOTBLOB_UPSTREAM'],
    [302, 'ERR_HOTBLOB_UPSTREAM_DENIED'],
    [405, 'ERR_HOTBLOB_UPSTREAM_DENIED'],
    [429, 'ERR_HOTBLOB_UPSTREAM'],
    [501, 'ERR_HOTBLOB_UPSTREAM_DENIED'],
    [206, 'ERR_HOTBLOB_UPSTREAM'],
    [401, 'ERR_HOTBLOB_UPSTREAM_DENIED'],
    [403, 'ERR_HOTBLOB_UPSTREAM_DENIED'],
    [414, 'ERR_HOTBLOB_KEY_TOO_LONG'],
  ] as const) {
    test(`${wire}: rejects with ${code} for status ${status}`, async (t) => {
      const upstream = await startUpstream(t, wire, (request, response) => {
        if (status === 302) response.setHeader('location', '/other');
        request.resume().on('end', () => response.writeHead(status).end('no'));
      });
      const store = storeOf(t, upstream);
      const expected = refusal(code, new RegExp(`received status ${status}`));
      await t.throwsAsync(store.get('a', { signal: never() }), expected);
      if (status === 206) return;
      await t.throwsAsync(put(store, 'a', BYTES), expected);
      await t.throwsAsync(store.delete('a'), expected);
    });
  }

  for (const [status, code] of [
    [413, 'ERR_HOTBLOB_TOO_LARGE'],
    [431, 'ERR_HOTBLOB_METADATA_TOO_LARGE'],
    [507, 'ERR_HOTBLOB_STORAGE_FULL'],
  ] as const) {
    test(`${wire}: an upload stops when the upstream refuses it early with ${status}`, async (t) => {
      const upstream = await startUpstream(t, wire, (_request, response) => void response.writeHead(status).end());
      const store = storeOf(t, upstream);
      // The body stalls after its first chunks: only the response can end the upload.
      const body = bodyOf([BYTES, BYTES]);
      await t.throwsAsync(store.put('a', body, { signal: never(), size: 3 * BYTES.byteLength }), refusal(code));
      t.true(body.destroyed);
    });
  }

  test(`${wire}: an upload fails with a timeout when the upstream does not read it`, async (t) => {
    const upstream = await startUpstream(t, wire, (request) => void request.pause());
    const store = storeOf(t, upstream, { stallTimeoutMs: 200 });
    const endless = new Readable({ read: (): unknown => endless.push(BYTES) });
    await t.throwsAsync(
      store.put('a', endless, { signal: never() }),
      refusal('ERR_HOTBLOB_UPSTREAM_TIMEOUT', /progress of the upload/),
    );
    t.true(endless.destroyed);
  });

  test(`${wire}: an upload whose body fails is aborted, so that the upstream does not store a truncated artifact`, async (t) => {
    const ends: string[] = [];
    const upstream = await startUpstream(t, wire, (request) => {
      request.resume().on('error', () => {});
      // node:http2 emits 'end' for an aborted request, too.
      request.on('close', () => ends.push(request.aborted ? 'aborted' : 'complete'));
    });
    const store = storeOf(t, upstream);
    const failure = new Error('the disk is gone');
    t.is(await t.throwsAsync(store.put('a', bodyOf([BYTES, BYTES], failure), { signal: never() })), failure);
    await until('the request has closed', () => ends.length === 1);
    const short = { signal: never(), size: BYTES.byteLength + 1 };
    await t.throwsAsync(store.put('a', streamOf(BYTES), short), refusal('ERR_HOTBLOB_INCOMPLETE'));
    await until('the request has closed', () => ends.length === 2);
    const client = new AbortController();
    const upload = store.put('a', bodyOf([BYTES, BYTES]), { signal: client.signal });
    await until('the upload has arrived', () => upstream.requests.length === 3);
    client.abort(failure);
    t.is(await t.throwsAsync(upload), failure);
    await until('the request has closed', () => ends.length === 3);
    t.deepEqual(ends, ['aborted', 'aborted', 'aborted']);
  });

  test(`${wire}: the last chunk is not sent before the body has ended, even if the upstream knows the length`, async (t) => {
    let received = 0;
    const ends: string[] = [];
    const upstream = await startUpstream(t, wire, (request, response) => {
      request
        .on('error', () => {})
        .on('data', (chunk: Buffer) => {
          received += chunk.byteLength;
          if (received === 2 * BYTES.byteLength) response.end();
        });
      request.on('close', () => ends.push(request.aborted ? 'aborted' : 'complete'));
    });
    const failure = new Error('the digest does not match');
    const body = Readable.from(
      (async function* () {
        yield BYTES;
        yield BYTES;
        await until('the first half has arrived', () => received >= BYTES.byteLength);
        await settled(() => received);
        throw failure;
      })(),
    );
    const upload = storeOf(t, upstream).put('a', body, { signal: never(), size: 2 * BYTES.byteLength });
    t.is(await t.throwsAsync(upload), failure);
    await until('the request has closed', () => ends.length === 1);
    t.deepEqual(ends, ['aborted']);
  });

  test(`${wire}: an aborted lookup rejects with the reason and keeps the HTTP/2 session`, async (t) => {
    const upstream = await startUpstream(t, wire, (request, response) => {
      if (request.url !== '/silent') response.end('x');
    });
    const store = storeOf(t, upstream);
    const client = new AbortController();
    const lookup = store.get('silent', { signal: client.signal });
    await until('the request has arrived', () => upstream.requests.length === 1);
    const reason = new Error('left');
    client.abort(reason);
    t.is(await t.throwsAsync(lookup), reason);
    t.is((await read(await lookUp(store, 'a'))).toString(), 'x');
    if (isHttp2(wire)) t.is(upstream.sessions.length, 1);
    t.is(await t.throwsAsync(store.get('a', { signal: client.signal })), reason);
  });
}

for (const wire of ['h2c', 'h2'] as const) {
  test(`${wire}: a session that received GOAWAY gets no new streams, and its downloads complete`, async (t) => {
    const upstream = await startUpstream(t, wire, (request, response) => {
      if (request.url !== '/first') {
        response.end('x');
        return;
      }
      response.setHeader('content-length', 2);
      response.write('a');
    });
    const store = storeOf(t, upstream);
    const first = await lookUp(store, 'first');
    const reading = read(first);
    const [session] = upstream.sessions;
    session?.goaway(NGHTTP2_NO_ERROR);
    // The answer to a later PING shows that the GOAWAY has arrived.
    await new Promise((resolve) => session?.ping(resolve));
    t.is((await read(await lookUp(store, 'b'))).toString(), 'x');
    t.is(upstream.sessions.length, 2);
    t.is(upstream.requests.length, 2);
    await store.close();
    await t.throwsAsync(reading, refusal('ERR_HOTBLOB_UPSTREAM'));
  });

  test(`${wire}: a request that a GOAWAY excludes is sent again on a new session`, async (t) => {
    let answered = 0;
    const upstream = await startUpstream(t, wire, (request, response) => {
      // The upstream has received the first request, but its GOAWAY says that it was not processed.
      if (request.url === '/warm') response.end('x');
      else if (answered++ === 0) upstream.sessions[0]?.goaway(NGHTTP2_NO_ERROR, 1);
      else response.end('y');
    });
    const store = storeOf(t, upstream);
    await read(await lookUp(store, 'warm'));
    t.is((await read(await lookUp(store, 'a'))).toString(), 'y');
    t.is(upstream.sessions.length, 2);
    t.deepEqual(upstream.requests, ['GET /warm', 'GET /a', 'GET /a']);
  });

  test(`${wire}: a refused stream is retried once on a new session, and not twice`, async (t) => {
    let refusals = 1;
    const upstream = await startUpstream(t, wire, (_request, response) => {
      if (refusals-- <= 0) response.end('x');
      else (response as unknown as { stream: { close(code: number): void } }).stream.close(NGHTTP2_REFUSED_STREAM);
    });
    const store = storeOf(t, upstream);
    t.is((await read(await lookUp(store, 'a'))).toString(), 'x');
    t.is(upstream.sessions.length, 2);
    refusals = 1;
    t.true(await store.delete('a'));
    refusals = 5;
    await t.throwsAsync(store.get('a', { signal: never() }), refusal('ERR_HOTBLOB_UPSTREAM'));
    t.is(refusals, 3);
  });

  test(`${wire}: a refused upload is retried unless more than 64 KiB of its body have been read`, async (t) => {
    const received: string[] = [];
    let refusals = 1;
    const upstream = await startUpstream(t, wire, (request, response) => {
      if (refusals-- <= 0) request.on('data', (chunk) => received.push(String(chunk))).on('end', () => response.end());
      else (response as unknown as { stream: { close(code: number): void } }).stream.close(NGHTTP2_REFUSED_STREAM);
    });
    const store = storeOf(t, upstream);
    await put(store, 'a', 'small', { ifAbsent: true });
    t.is(received.join(''), 'small');
    t.deepEqual(upstream.requests, ['PUT /a', 'PUT /a']);
    refusals = 1;
    await t.throwsAsync(put(store, 'b', BYTES), refusal('ERR_HOTBLOB_UPSTREAM'));
    t.deepEqual(upstream.requests.slice(2), ['PUT /b']);
  });

  test(`${wire}: a destroyed session is replaced`, async (t) => {
    const upstream = await startUpstream(t, wire, (_request, response) => response.end('x'));
    const store = storeOf(t, upstream);
    for (let count = 1; count <= 3; count++) {
      t.is((await read(await lookUp(store, 'a'))).toString(), 'x');
      t.is(upstream.sessions.length, count);
      for (const session of upstream.sessions) session.destroy();
    }
  });
}

for (const wire of ['http', 'https'] as const) {
  test(`${wire}: a GET is retried if a reused connection was closed, and not if a new one was`, async (t) => {
    let dropped = 1;
    const upstream = await startUpstream(t, wire, (request, response) => {
      if (request.url === '/a' && dropped-- > 0) request.socket.destroy();
      else response.end('x');
    });
    const store = storeOf(t, upstream);
    await read(await lookUp(store, 'warm'));
    t.is((await read(await lookUp(store, 'a'))).toString(), 'x');
    await read(await lookUp(store, 'warm'));
    dropped = 1;
    const requests = upstream.requests.length;
    // The connection is new, so the upstream has closed it because of this request.
    const freshStore = storeOf(t, upstream);
    await t.throwsAsync(freshStore.get('a', { signal: never() }), refusal('ERR_HOTBLOB_UPSTREAM'));
    t.is(upstream.requests.length, requests + 1);
  });
}

for (const wire of WIRES) {
  const chunks = [content(5000, 1), content(20_000, 2), content(30_000, 3)];
  // Over HTTP/1.1, headers are sent with the first chunk, and the last chunk that has been read is held back.
  for (let count = isHttp2(wire) ? 0 : 2; count <= chunks.length; count++) {
    test(`${wire}: an upload is sent again if its connection is closed after ${count} chunks`, async (t) => {
      let isDropped = false;
      const bodies: Buffer[] = [];
      let body: Readable | undefined;
      const rest = [...chunks];
      const push = (chunk: Buffer | null | undefined): void => void body?.push(chunk ?? null);
      const upstream = await startUpstream(t, wire, async (request, response) => {
        if (request.url === '/warm') return void response.end('x');
        if (isDropped) {
          while (rest.length > 0) push(rest.shift());
          push(null);
          bodies.push(await buffer(request));
          return void response.writeHead(201).end();
        }
        let received = 0;
        const drop = (): void => {
          isDropped = true;
          for (const socket of upstream.connections) socket.destroy();
        };
        if (expected === 0) drop();
        request.on('data', (chunk: Buffer) => {
          received += chunk.byteLength;
          if (received === expected) drop();
        });
      });
      const expected = chunks.slice(0, Math.max(0, count - 1)).reduce((sum, chunk) => sum + chunk.byteLength, 0);
      const store = storeOf(t, upstream);
      await read(await lookUp(store, 'warm'));
      body = new Readable({ objectMode: true, read() {} }); // keeps the chunks apart
      for (let index = 0; index < count; index++) push(rest.shift());
      t.true((await store.put('a', body, { signal: never() })).created);
      t.true(Buffer.concat(chunks).equals(bodies[0] ?? Buffer.of()));
      t.deepEqual(upstream.requests, ['GET /warm', 'PUT /a', 'PUT /a']);
    });
  }

  test(`${wire}: an upload that must not replace an artifact is not sent again if it may have been processed`, async (t) => {
    const upstream = await startUpstream(t, wire, (request, response) => {
      if (request.url === '/warm') response.end('x');
      else for (const socket of upstream.connections) socket.destroy();
    });
    const store = storeOf(t, upstream);
    await read(await lookUp(store, 'warm'));
    await t.throwsAsync(put(store, 'a', 'x', { ifAbsent: true }), refusal('ERR_HOTBLOB_UPSTREAM'));
    t.deepEqual(upstream.requests, ['GET /warm', 'PUT /a']);
  });

  test(`${wire}: the error of a body rejects an upload, also after its connection was closed`, async (t) => {
    const failure = new Error('the client has left');
    const upstream = await startUpstream(t, wire, (request, response) => {
      if (request.url === '/warm') return void response.end('x');
      if (upstream.requests.length > 2) body.destroy(failure);
      else for (const socket of upstream.connections) socket.destroy();
    });
    const store = storeOf(t, upstream);
    await read(await lookUp(store, 'warm'));
    const body = bodyOf([content(10), content(10)]);
    t.is(await t.throwsAsync(store.put('a', body, { signal: never() })), failure);
    t.deepEqual(upstream.requests, ['GET /warm', 'PUT /a', 'PUT /a']);
  });
}

test('rejects with a timeout when the upstream accepts the connection and sends nothing', async (t) => {
  const sockets: Socket[] = [];
  const silent = net.createServer((socket) => sockets.push(socket.on('error', () => {}).resume()));
  const port = await listen(t, silent, sockets);
  const tls = upstreamStore(`https://127.0.0.1:${port}`, { connectTimeoutMs: 100 });
  await t.throwsAsync(tls.get('a', { signal: never() }), refusal('ERR_HOTBLOB_UPSTREAM_TIMEOUT', /connection within/));
  const h2c = upstreamStore(`http://127.0.0.1:${port}`, { h2c: true, firstByteTimeoutMs: 100 });
  await t.throwsAsync(
    h2c.get('a', { signal: never() }),
    refusal('ERR_HOTBLOB_UPSTREAM_TIMEOUT', /response headers within/),
  );
  await Promise.all([tls.close(), h2c.close()]);
  await until('every connection is closed', () => sockets.every((socket) => socket.destroyed));
});

test('rejects with ERR_HOTBLOB_UPSTREAM when the response is not HTTP', async (t) => {
  const sockets: Socket[] = [];
  const nonsense = net.createServer((socket) => sockets.push(socket.on('error', () => {}).resume()));
  nonsense.on('connection', (socket) => socket.write('220 mail.example ESMTP\r\n'.repeat(100)));
  const port = await listen(t, nonsense, sockets);
  for (const h2c of [false, true]) {
    const store = upstreamStore(`http://127.0.0.1:${port}`, { h2c });
    await t.throwsAsync(store.get('a', { signal: never() }), refusal('ERR_HOTBLOB_UPSTREAM'));
    await store.close();
  }
});

async function drain(body: Readable): Promise<void> {
  for await (const _chunk of body);
}
