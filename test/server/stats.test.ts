import { once } from 'node:events';
import http, { type IncomingMessage } from 'node:http';
import { constants } from 'node:http2';
import test from 'ava';
import { until } from '../helpers/poll.js';
import { openPort, untilClosed } from './fixture.js';

const NONE = { preface: 0, evicted: 0, stalled: 0, ping: 0, grace: 0, resets: 0, controls: 0 };

for (const secure of [false, true]) {
  test(`counts connections by protocol and open streams, ${secure ? 'TLS' : 'plain'}`, async (t) => {
    const held: (() => void)[] = [];
    const listener: http.RequestListener = (_request, response) => {
      held.push(() => response.end('done'));
    };
    const { server, session, connect, port } = await openPort(t, listener, { secure, maxConnections: 1000 });
    t.deepEqual(server.stats(), {
      connections: { unknown: 0, http1: 0, http2: 0 },
      accepted: { http1: 0, http2: 0 },
      maxConnections: 1000,
      refused: 0,
      streams: 0,
      openStreams: 0,
      resets: 0,
      drained: { http1: 0, http2: 0 },
      terminated: NONE,
    });
    const client = await session();
    const streams = [client.request(), client.request()];
    await until('both requests have arrived', () => held.length === 2);
    t.like(server.stats(), { connections: { http1: 0, http2: 1 }, accepted: { http2: 1 }, streams: 2, openStreams: 2 });
    for (const stream of streams) stream.resume();
    for (const end of held.splice(0)) end();
    await Promise.all(streams.map((stream) => once(stream, 'close')));
    await until('both streams have closed', () => server.stats().openStreams === 0);
    t.like(server.stats(), { streams: 2, resets: 0 });

    if (!secure) {
      const socket = await connect();
      await until('the silent connection is counted', () => server.stats().connections.unknown === 1);
      const request = http.get({ port, host: '127.0.0.1', agent: false });
      await until('the request has arrived', () => held.length === 1);
      t.like(server.stats(), { connections: { unknown: 1, http1: 1, http2: 1 }, accepted: { http1: 1, http2: 1 } });
      held.pop()?.();
      const [response] = (await once(request, 'response')) as [IncomingMessage];
      response.resume();
      socket.destroy();
    }
    client.destroy();
    await until('all connections have closed', () =>
      Object.values(server.stats().connections).every((count) => count === 0),
    );
  });
}

test('counts resets, and sessions terminated for too many of them', async (t) => {
  const { server, session } = await openPort(t, () => {}, { resetBurst: 3, resetsPerSecond: 1 });
  const client = await session();
  client.on('error', () => {}); // the server says with a code why it closes the session
  const goaway = once(client, 'goaway');
  const closed = new Promise((resolve) => client.once('close', resolve));
  for (let count = 0; count < 8; count++) {
    client
      .request()
      .on('error', () => {})
      .close(constants.NGHTTP2_CANCEL);
  }
  t.is((await goaway)[0], constants.NGHTTP2_ENHANCE_YOUR_CALM);
  await closed;
  await until('the session is counted', () => server.stats().terminated.resets === 1);
  const { resets, streams, terminated } = server.stats();
  t.true(resets > 3 && resets <= streams, `${resets} of ${streams}`);
  t.deepEqual(terminated, { ...NONE, resets: 1 });
});

test('counts each drained connection once', async (t) => {
  const { server, session, port } = await openPort(t, (_request, response) => void response.end('done'));
  const client = await session();
  const goaway = once(client, 'goaway');
  const agent = new http.Agent({ keepAlive: true });
  t.teardown(() => agent.destroy());
  const request = http.get({ port, host: '127.0.0.1', agent });
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  response.resume();
  await once(response, 'end');
  const closing = server.close({ timeoutMs: 5000 });
  await goaway;
  t.deepEqual(server.stats().drained, { http1: 1, http2: 1 });
  agent.destroy();
  client.destroy();
  await closing;
  t.deepEqual(server.stats().drained, { http1: 1, http2: 1 });
});

test('counts connections terminated for an incomplete or unsupported preface', async (t) => {
  const { server, connect } = await openPort(t, () => {}, { prefaceTimeoutMs: 50 });
  await untilClosed(await connect());
  t.is(server.stats().terminated.preface, 1);
  const tls = await connect();
  tls.write(Buffer.from([22, 3, 1, 0, 200]));
  await untilClosed(tls);
  t.deepEqual(server.stats().terminated, { ...NONE, preface: 2 });
});
