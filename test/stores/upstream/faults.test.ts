import { once } from 'node:events';
import { constants } from 'node:http2';
import net, { type Socket } from 'node:net';
import { Readable } from 'node:stream';
import test from 'ava';
import { upstreamStore } from '../../../src/stores/upstream/store.js';
import { settled, until } from '../../helpers/poll.js';
import { bodyOf, content, never, put, refusal } from '../fixture.js';
import { chunked, found, isHttp2, listen, read, startPeer, storeOf, WIRES } from './fixture.js';

const BYTES = content(300_000);
const { NGHTTP2_REFUSED_STREAM, NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR } = constants;

for (const wire of WIRES) {
  test(`${wire}: a peer that is not there`, async (t) => {
    const peer = await startPeer(t, wire, () => {});
    const gone = upstreamStore(`${peer.url.startsWith('https') ? 'https' : 'http'}://127.0.0.1:1/`, peer.options);
    await t.throwsAsync(gone.get('a', { signal: never() }), refusal('ERR_HOTBLOB_UPSTREAM', /ECONNREFUSED/));
    const body = bodyOf([BYTES]);
    await t.throwsAsync(gone.put('a', body, { signal: never() }), refusal('ERR_HOTBLOB_UPSTREAM'));
    t.true(body.destroyed);
  });

  test(`${wire}: an answer that does not come`, async (t) => {
    const peer = await startPeer(t, wire, (request) => void request.resume());
    const store = storeOf(t, peer, { firstByteTimeoutMs: 100 });
    await t.throwsAsync(
      store.get('a', { signal: never() }),
      refusal('ERR_HOTBLOB_UPSTREAM_TIMEOUT', /answer within 100 ms/),
    );
    await t.throwsAsync(put(store, 'a', BYTES), refusal('ERR_HOTBLOB_UPSTREAM_TIMEOUT', /answer within 100 ms/));
    await t.throwsAsync(store.delete('a'), refusal('ERR_HOTBLOB_UPSTREAM_TIMEOUT'));
    t.deepEqual(peer.requests, ['GET /a', 'PUT /a', 'DELETE /a'], 'nothing is sent again');
  });

  test(`${wire}: after a request without an answer another connection is tried`, async (t) => {
    const peer = await startPeer(t, wire, (request, response) => {
      if (request.url !== '/silent') response.end('x');
    });
    const store = storeOf(t, peer, { firstByteTimeoutMs: 1000 });
    await read(await found(store, 'a'));
    const before = peer.connections.length;
    await t.throwsAsync(store.get('silent', { signal: never() }), refusal('ERR_HOTBLOB_UPSTREAM_TIMEOUT'));
    await read(await found(store, 'b'));
    t.is(peer.connections.length, before + 1);
  });

  test(`${wire}: a body that stops in the middle`, async (t) => {
    const peer = await startPeer(t, wire, (_request, response) => {
      response.setHeader('content-length', BYTES.byteLength);
      response.write(BYTES.subarray(0, 1000));
    });
    const artifact = await found(storeOf(t, peer, { stallTimeoutMs: 100 }), 'a');
    await t.throwsAsync(read(artifact), refusal('ERR_HOTBLOB_UPSTREAM_TIMEOUT', /byte of the body within 100 ms/));
  });

  test(`${wire}: a reader that takes its time is no stall`, async (t) => {
    const peer = await startPeer(t, wire, (_request, response) => {
      response.setHeader('content-length', 30 * BYTES.byteLength);
      for (let count = 0; count < 30; count++) response.write(BYTES);
      response.end();
    });
    const artifact = await found(storeOf(t, peer, { stallTimeoutMs: 1000 }), 'a');
    const body = await artifact.open(undefined, { signal: never() });
    let bytes = 0;
    for await (const chunk of body) {
      // Far longer than a stall may last, once the peer can send no more.
      if (bytes === 0) await new Promise((resolve) => setTimeout(resolve, 1500));
      bytes += chunk.byteLength;
    }
    t.is(bytes, 30 * BYTES.byteLength);
  });

  for (const length of ['a length', 'no length'] as const) {
    test(`${wire}: a body with ${length} that is cut off`, async (t) => {
      const peer = await startPeer(t, wire, (_request, response) => {
        if (length === 'a length') response.setHeader('content-length', BYTES.byteLength);
        response.write(BYTES.subarray(0, 100_000), () => {
          if ('stream' in response) (response.stream as { close(code: number): void }).close(NGHTTP2_INTERNAL_ERROR);
          else response.destroy();
        });
      });
      const store = storeOf(t, peer);
      await t.throwsAsync(read(await found(store, 'a')), refusal('ERR_HOTBLOB_UPSTREAM'));
      t.is(peer.requests.length, 1, 'a download that has begun is not begun again');
    });
  }

  test(`${wire}: a connection that is cut off in the middle of a body`, async (t) => {
    const peer = await startPeer(t, wire, (_request, response) => {
      response.setHeader('content-length', BYTES.byteLength);
      response.write(BYTES.subarray(0, 100_000));
    });
    const store = storeOf(t, peer);
    const body = await (await found(store, 'a')).open(undefined, { signal: never() });
    await once(body, 'readable');
    for (const socket of peer.connections) socket.destroy();
    await t.throwsAsync(drain(body), refusal('ERR_HOTBLOB_UPSTREAM'));
  });

  for (const [status, code] of [
    [503, 'ERR_HOTBLOB_UPSTREAM'],
    [302, 'ERR_HOTBLOB_UPSTREAM'],
    [206, 'ERR_HOTBLOB_UPSTREAM'],
    [401, 'ERR_HOTBLOB_UPSTREAM_DENIED'],
    [403, 'ERR_HOTBLOB_UPSTREAM_DENIED'],
    [414, 'ERR_HOTBLOB_KEY_TOO_LONG'],
  ] as const) {
    test(`${wire}: ${status}`, async (t) => {
      const peer = await startPeer(t, wire, (request, response) => {
        if (status === 302) response.setHeader('location', '/other');
        request.resume().on('end', () => response.writeHead(status).end('no'));
      });
      const store = storeOf(t, peer);
      const expected = refusal(code, new RegExp(`answered with ${status}`));
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
    test(`${wire}: an upload that is refused with ${status} before its end stops`, async (t) => {
      const peer = await startPeer(t, wire, (_request, response) => void response.writeHead(status).end());
      const store = storeOf(t, peer);
      // Silent after the first chunk: only the answer can end it.
      const body = bodyOf([BYTES, BYTES]);
      await t.throwsAsync(store.put('a', body, { signal: never(), size: 3 * BYTES.byteLength }), refusal(code));
      t.true(body.destroyed);
    });
  }

  test(`${wire}: an upload that the peer does not take`, async (t) => {
    const peer = await startPeer(t, wire, (request) => void request.pause());
    const store = storeOf(t, peer, { stallTimeoutMs: 200 });
    const endless = new Readable({ read: (): unknown => endless.push(BYTES) });
    await t.throwsAsync(
      store.put('a', endless, { signal: never() }),
      refusal('ERR_HOTBLOB_UPSTREAM_TIMEOUT', /room for more of the upload/),
    );
    t.true(endless.destroyed);
  });

  test(`${wire}: an upload that fails is cut off, so that the peer cannot take it for whole`, async (t) => {
    const ends: string[] = [];
    const peer = await startPeer(t, wire, (request) => {
      request.resume().on('error', () => {});
      // node:http2 says 'end' for what is cut off, too.
      request.on('close', () => ends.push(request.aborted ? 'cut off' : 'whole'));
    });
    const store = storeOf(t, peer);
    const failure = new Error('the disk is gone');
    t.is(await t.throwsAsync(store.put('a', bodyOf([BYTES, BYTES], failure), { signal: never() })), failure);
    await until('the peer sees the end', () => ends.length === 1);
    const short = { signal: never(), size: BYTES.byteLength + 1 };
    await t.throwsAsync(store.put('a', chunked(BYTES), short), refusal('ERR_HOTBLOB_INCOMPLETE'));
    await until('the peer sees the end', () => ends.length === 2);
    const client = new AbortController();
    const upload = store.put('a', bodyOf([BYTES, BYTES]), { signal: client.signal });
    await until('the upload is there', () => peer.requests.length === 3);
    client.abort(failure);
    t.is(await t.throwsAsync(upload), failure);
    await until('the peer sees the end', () => ends.length === 3);
    t.deepEqual(ends, ['cut off', 'cut off', 'cut off']);
  });

  test(`${wire}: a peer that knows the length cannot take an upload for whole before the body has ended`, async (t) => {
    let received = 0;
    const ends: string[] = [];
    const peer = await startPeer(t, wire, (request, response) => {
      request
        .on('error', () => {})
        .on('data', (chunk: Buffer) => {
          received += chunk.byteLength;
          if (received === 2 * BYTES.byteLength) response.end();
        });
      request.on('close', () => ends.push(request.aborted ? 'cut off' : 'whole'));
    });
    const failure = new Error('the digest does not match');
    const body = Readable.from(
      (async function* () {
        yield BYTES;
        yield BYTES;
        await until('the peer has the first half', () => received >= BYTES.byteLength);
        await settled(() => received);
        throw failure;
      })(),
    );
    const upload = storeOf(t, peer).put('a', body, { signal: never(), size: 2 * BYTES.byteLength });
    t.is(await t.throwsAsync(upload), failure);
    await until('the peer sees the end', () => ends.length === 1);
    t.deepEqual(ends, ['cut off']);
  });

  test(`${wire}: a lookup that is given up ends with the reason, and the connection goes on`, async (t) => {
    const peer = await startPeer(t, wire, (request, response) => {
      if (request.url !== '/silent') response.end('x');
    });
    const store = storeOf(t, peer);
    const client = new AbortController();
    const lookup = store.get('silent', { signal: client.signal });
    await until('the request is there', () => peer.requests.length === 1);
    const reason = new Error('left');
    client.abort(reason);
    t.is(await t.throwsAsync(lookup), reason);
    t.is((await read(await found(store, 'a'))).toString(), 'x');
    if (isHttp2(wire)) t.is(peer.sessions.length, 1);
    t.is(await t.throwsAsync(store.get('a', { signal: client.signal })), reason);
  });
}

for (const wire of ['h2c', 'h2'] as const) {
  test(`${wire}: a session that GOAWAY has ended is not used again, and downloads on it complete`, async (t) => {
    const peer = await startPeer(t, wire, (request, response) => {
      if (request.url !== '/first') {
        response.end('x');
        return;
      }
      response.setHeader('content-length', 2);
      response.write('a');
    });
    const store = storeOf(t, peer);
    const first = await found(store, 'first');
    const reading = read(first);
    const [session] = peer.sessions;
    session?.goaway(NGHTTP2_NO_ERROR);
    // An answer to what comes after it shows that the GOAWAY has come.
    await new Promise((resolve) => session?.ping(resolve));
    t.is((await read(await found(store, 'b'))).toString(), 'x');
    t.is(peer.sessions.length, 2);
    t.is(peer.requests.length, 2);
    await store.close();
    await t.throwsAsync(reading, refusal('ERR_HOTBLOB_UPSTREAM'));
  });

  test(`${wire}: a request that GOAWAY overtakes is sent again on a fresh session`, async (t) => {
    let answered = 0;
    const peer = await startPeer(t, wire, (request, response) => {
      // The first one has been seen, but the peer says that it has not been processed.
      if (request.url === '/warm') response.end('x');
      else if (answered++ === 0) peer.sessions[0]?.goaway(NGHTTP2_NO_ERROR, 1);
      else response.end('y');
    });
    const store = storeOf(t, peer);
    await read(await found(store, 'warm'));
    t.is((await read(await found(store, 'a'))).toString(), 'y');
    t.is(peer.sessions.length, 2);
    t.deepEqual(peer.requests, ['GET /warm', 'GET /a', 'GET /a']);
  });

  test(`${wire}: a refused stream is tried once more on a fresh session, and not a third time`, async (t) => {
    let refusals = 1;
    const peer = await startPeer(t, wire, (_request, response) => {
      if (refusals-- <= 0) response.end('x');
      else (response as unknown as { stream: { close(code: number): void } }).stream.close(NGHTTP2_REFUSED_STREAM);
    });
    const store = storeOf(t, peer);
    t.is((await read(await found(store, 'a'))).toString(), 'x');
    t.is(peer.sessions.length, 2);
    refusals = 1;
    t.true(await store.delete('a'));
    refusals = 5;
    await t.throwsAsync(store.get('a', { signal: never() }), refusal('ERR_HOTBLOB_UPSTREAM'));
    t.is(refusals, 3);
  });

  test(`${wire}: an upload is not sent again, because its bytes are gone`, async (t) => {
    const peer = await startPeer(t, wire, (_request, response) => {
      (response as unknown as { stream: { close(code: number): void } }).stream.close(NGHTTP2_REFUSED_STREAM);
    });
    const store = storeOf(t, peer);
    await t.throwsAsync(put(store, 'a', BYTES), refusal('ERR_HOTBLOB_UPSTREAM'));
    t.deepEqual(peer.requests, ['PUT /a']);
  });

  test(`${wire}: a session that is destroyed is replaced`, async (t) => {
    const peer = await startPeer(t, wire, (_request, response) => response.end('x'));
    const store = storeOf(t, peer);
    for (let count = 1; count <= 3; count++) {
      t.is((await read(await found(store, 'a'))).toString(), 'x');
      t.is(peer.sessions.length, count);
      for (const session of peer.sessions) session.destroy();
    }
  });
}

for (const wire of ['http', 'https'] as const) {
  test(`${wire}: a connection that the peer closes while a request is on its way`, async (t) => {
    let dropped = 1;
    const peer = await startPeer(t, wire, (request, response) => {
      if (request.url === '/a' && dropped-- > 0) request.socket.destroy();
      else response.end('x');
    });
    const store = storeOf(t, peer);
    await read(await found(store, 'warm'));
    t.is((await read(await found(store, 'a'))).toString(), 'x');
    await read(await found(store, 'warm'));
    dropped = 1;
    const requests = peer.requests.length;
    // On a connection of its own nobody can say that it was the connection's age.
    await t.throwsAsync(upstreamOf(peer).get('a', { signal: never() }), refusal('ERR_HOTBLOB_UPSTREAM'));
    t.is(peer.requests.length, requests + 1);

    function upstreamOf(same: typeof peer) {
      return storeOf(t, same);
    }
  });
}

test('a connection that is made but says nothing', async (t) => {
  const sockets: Socket[] = [];
  const silent = net.createServer((socket) => sockets.push(socket.on('error', () => {}).resume()));
  const port = await listen(t, silent, sockets);
  const tls = upstreamStore(`https://127.0.0.1:${port}`, { connectTimeoutMs: 100 });
  await t.throwsAsync(tls.get('a', { signal: never() }), refusal('ERR_HOTBLOB_UPSTREAM_TIMEOUT', /connection within/));
  const h2c = upstreamStore(`http://127.0.0.1:${port}`, { h2c: true, firstByteTimeoutMs: 100 });
  await t.throwsAsync(h2c.get('a', { signal: never() }), refusal('ERR_HOTBLOB_UPSTREAM_TIMEOUT', /answer within/));
  await Promise.all([tls.close(), h2c.close()]);
  await until('every connection is closed', () => sockets.every((socket) => socket.destroyed));
});

test('something that is not HTTP', async (t) => {
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
