import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import { setTimeout as wait } from 'node:timers/promises';
import test from 'ava';
import type { BytesArtifact } from '../../src/contract/artifact.js';
import { createHandler } from '../../src/handler/handler.js';
import { certificate } from '../helpers/certificate.js';
import { temporaryDirectory, writePattern } from '../helpers/files.js';
import { Frames } from '../helpers/frames.js';
import { settled, until } from '../helpers/poll.js';
import { openPort, untilClosed } from './fixture.js';

const MIB = 1024 * 1024;
/** Larger than all socket buffers together. */
const LARGE: BytesArtifact = { kind: 'bytes', bytes: Buffer.alloc(64 * MIB, 'x') };
const SMALL: BytesArtifact = { kind: 'bytes', bytes: Buffer.from('small') };

const EMPTY_SETTINGS = '\0\0\0\x04\0\0\0\0\0';

function artifacts() {
  return createHandler({ store: { get: (key) => ({ large: LARGE, small: SMALL })[key] } });
}

/** Short time limits, so that the tests take seconds. */
const PINGS = { pingIntervalMs: 200, pingTimeoutMs: 200 };
const WRITES = { writeTimeoutMs: 300, minBytesPerSecond: 100 * MIB };

test('a silent session stays open if it answers a PING, and is destroyed if it does not', async (t) => {
  const { port, connect } = await openPort(t, artifacts(), PINGS);
  const answering = await Frames.connect(t, { port, certificate: undefined });
  const silent = await connect();
  silent.write(`PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${EMPTY_SETTINGS}`, 'latin1');
  const start = performance.now();
  await untilClosed(silent);
  t.true(performance.now() - start >= 390);
  await wait(800);
  answering.get(1, '/small');
  await until('the response is complete', () => answering.stream(1).isEnded);
  t.false(answering.socket.destroyed);
});

test('a stream whose window stays closed is reset, and its session stays open', async (t) => {
  const handler = artifacts();
  const { port } = await openPort(t, handler, { ...PINGS, ...WRITES });
  const client = await Frames.connect(t, { port, certificate: undefined }, { windowSize: 1000 });
  const start = performance.now();
  client.get(1, '/large');
  await until('the stream is reset', () => client.stream(1).resetCode !== undefined);
  t.true(performance.now() - start >= 290);
  t.is(client.stream(1).bytes, 1000);
  t.false(client.stream(1).isEnded);
  client.get(3, '/small');
  await until('the next response is complete', () => client.stream(3).isEnded);
  t.is(client.stream(3).body.toString(), 'small');
  t.false(client.socket.destroyed);
});

test('a response that the client resets with NO_ERROR releases its buffers', async (t) => {
  const directory = await temporaryDirectory(t);
  writePattern(directory, 'file', 60_000, 1);
  const path = `${directory}/file`;
  const handler = createHandler({ store: { get: () => ({ kind: 'file', path }) } });
  const { port } = await openPort(t, handler, PINGS);
  const client = await Frames.connect(t, { port, certificate: undefined }, { windowSize: 1000 });
  client.get(1, '/file');
  await until('the response has begun', () => client.stream(1).bytes === 1000);
  t.true(handler.stats().pooledBytes > 0);
  client.reset(1, 0);
  await until('all buffers are released', () => handler.stats().pooledBytes === 0);
  t.false(client.socket.destroyed);
});

for (const secure of [false, true]) {
  // nghttp2 closes a stream when it has taken the last frame, although the socket has not accepted it yet.
  test(`complete responses that wait for the socket are no resets, ${secure ? 'h2' : 'h2c'}`, async (t) => {
    const handler = createHandler({ store: { get: () => ({ kind: 'bytes', bytes: Buffer.alloc(50_000, 'x') }) } });
    // Connections are checked every 10 ms.
    const { port, server } = await openPort(t, handler, { bodyTimeoutMs: 40, secure });
    const client = await Frames.connect(t, { port, certificate: secure ? await certificate() : undefined });
    client.socket.pause();
    const ids: number[] = [];
    // Until the buffers of the sockets are full.
    while (handler.stats().active === 0) {
      for (let count = 0; count < 20; count++) {
        const id = 2 * ids.length + 1;
        ids.push(id);
        client.get(id, '/file');
      }
      await settled(() => handler.stats());
    }
    client.socket.resume();
    await until('the client has received all', () => ids.every((id) => client.stream(id).isEnded));
    await until('the server has finished all', () => handler.stats().responses[200] === ids.length);
    const counts = handler.stats().latency.flatMap(({ duration }) => duration.counts);
    t.is(
      counts.reduce((sum, count) => sum + count, 0),
      ids.length,
      'complete responses',
    );
    t.is(server.stats().resets, 0);
    t.false(client.hasGoaway);
  });

  test(`a session whose client does not read is destroyed, ${secure ? 'h2' : 'h2c'}`, async (t) => {
    const handler = artifacts();
    const { port } = await openPort(t, handler, { ...PINGS, ...WRITES, secure });
    const client = await Frames.connect(t, { port, certificate: secure ? await certificate() : undefined });
    client.get(1, '/large');
    await until('the response has begun', () => client.stream(1).bytes > 0);
    client.socket.pause();
    const responses = () => Object.values(handler.stats().responses).reduce((sum, count) => sum + count, 0);
    await until('the response is over', () => responses() === 1);
    t.is(handler.stats().sent.bytes.bytes < LARGE.bytes.byteLength, true);
    await until(
      'all buffers are released',
      () => handler.stats().pooledBytes === 0 && handler.stats().mappedBytes === 0,
    );
  });

  test(`an HTTP/1.1 connection whose client does not read is destroyed, ${secure ? 'https' : 'http'}`, async (t) => {
    const handler = artifacts();
    const { port } = await openPort(t, handler, { ...WRITES, secure });
    const get = secure ? (await import('node:https')).get : http.get;
    const request = get({ port, host: '127.0.0.1', path: '/large', rejectUnauthorized: false, agent: false });
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    response.pause();
    await until('the response is over', () => handler.stats().responses[200] === 1);
    t.true(handler.stats().sent.bytes.bytes < LARGE.bytes.byteLength);
    const error = await t.throwsAsync(response.toArray());
    t.is((error as NodeJS.ErrnoException).code, 'ECONNRESET');
  });
}

for (const version of [1, 2]) {
  test(`a slow but steady download completes, HTTP/${version}`, async (t) => {
    const handler = artifacts();
    const limits = { ...PINGS, ...WRITES, minBytesPerSecond: MIB, maxAgeMs: 600, graceMs: 200 };
    const { port, session } = await openPort(t, handler, limits);
    let body: NodeJS.ReadableStream;
    if (version === 1) {
      const request = http.get({ port, host: '127.0.0.1', path: '/large', agent: false });
      [body] = (await once(request, 'response')) as [http.IncomingMessage];
    } else {
      body = (await session()).request({ ':path': '/large' });
    }
    // Takes about ten times as long as any of the limits, with pauses between the reads.
    let received = 0;
    let allowed = 0;
    for await (const chunk of body) {
      received += (chunk as Buffer).byteLength;
      if (received < allowed) continue;
      allowed += 2 * MIB;
      await wait(80);
    }
    t.is(received, LARGE.bytes.byteLength);
  });
}

test('a session with too many PINGs gets GOAWAY with ENHANCE_YOUR_CALM', async (t) => {
  const { session } = await openPort(t, artifacts(), { controlBurst: 3, controlsPerSecond: 1 });
  const client = await session();
  const goaway = once(client, 'goaway');
  for (let count = 0; count < 8; count++) client.ping(() => {});
  t.is((await goaway)[0], http2.constants.NGHTTP2_ENHANCE_YOUR_CALM);
});

test('a session past its reset rate is closed although its client does not read', async (t) => {
  const held: http2.Http2ServerResponse[] = [];
  const writing: http2.Http2ServerResponse[] = [];
  const listener = (request: http2.Http2ServerRequest, response: http2.Http2ServerResponse): void => {
    if (request.url === '/held') held.push(response);
    else if (!response.write(LARGE.bytes)) writing.push(response);
  };
  const limits = { resetBurst: 3, resetsPerSecond: 1, headersTimeoutMs: 400 };
  // The types of `createServer` have the listener of HTTP/1.1 only.
  const { server, port } = await openPort(t, listener as never, limits);
  const client = await Frames.connect(t, { port, certificate: undefined });
  client.get(1, '/large');
  for (let id = 3; id < 20; id += 2) client.get(id, '/held');
  await until('the requests have arrived', () => held.length === 9 && client.stream(1).bytes > 0);
  client.socket.pause();
  const socket = writing[0]?.stream.session?.socket;
  let before = -1;
  await until('the connection is full', () => {
    const isFull = socket?.bytesWritten === before;
    before = socket?.bytesWritten ?? -1;
    return isFull;
  });
  for (const { stream } of held) stream.destroy(new Error('reset by the application'));
  await until('the session is over', () => server.stats().terminated.resets === 1);
  await until('its connection is closed', () => server.stats().connections.http2 === 0);
  t.true(client.stream(1).bytes < LARGE.bytes.byteLength);
});

test('sessions without streams and connections without requests are closed after their idle timeouts', async (t) => {
  const { session, connect } = await openPort(t, artifacts(), { idleTimeoutMs: 300, keepAliveTimeoutMs: 300 });
  const client = await session();
  const start = performance.now();
  t.is((await client.request({ ':path': '/small' }).toArray()).join(''), 'small');
  const [code] = (await once(client, 'goaway')) as [number];
  t.is(code, 0);
  t.true(performance.now() - start >= 290);
  await once(client, 'close');
  const socket = await connect();
  socket.write('GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n');
  t.regex(await untilClosed(socket), /small$/);
});

test('a request whose headers take longer than headersTimeoutMs gets 408', async (t) => {
  const { connect } = await openPort(t, artifacts(), { headersTimeoutMs: 300 });
  const socket = await connect();
  socket.write('GET /small HTTP/1.1\r\nHost: localhost\r\n');
  t.regex(await untilClosed(socket), /^HTTP\/1\.1 408 /);
});
