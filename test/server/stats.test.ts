import { once } from 'node:events';
import http, { type IncomingMessage } from 'node:http';
import { constants } from 'node:http2';
import test from 'ava';
import { until } from '../helpers/poll.js';
import { openPort, untilClosed } from './fixture.js';

const NONE = { preface: 0, stalled: 0, ping: 0, grace: 0, resets: 0, controls: 0 };

for (const secure of [false, true]) {
  test(`connections are counted by what they speak, streams while they are open, ${secure ? 'TLS' : 'plain'}`, async (t) => {
    const waiting: (() => void)[] = [];
    const listener: http.RequestListener = (_request, response) => {
      waiting.push(() => response.end('done'));
    };
    const { server, session, connect, port } = await openPort(t, listener, { secure });
    t.deepEqual(server.stats(), {
      connections: { unknown: 0, http1: 0, http2: 0 },
      accepted: { http1: 0, http2: 0 },
      streams: 0,
      openStreams: 0,
      resets: 0,
      retired: { http1: 0, http2: 0 },
      cutOff: NONE,
    });
    const client = await session();
    const streams = [client.request(), client.request()];
    await until('both are there', () => waiting.length === 2);
    t.like(server.stats(), { connections: { http1: 0, http2: 1 }, accepted: { http2: 1 }, streams: 2, openStreams: 2 });
    for (const stream of streams) stream.resume();
    for (const end of waiting.splice(0)) end();
    await Promise.all(streams.map((stream) => once(stream, 'close')));
    await until('they are over', () => server.stats().openStreams === 0);
    t.like(server.stats(), { streams: 2, resets: 0 });

    if (!secure) {
      const socket = await connect();
      await until('it has said nothing', () => server.stats().connections.unknown === 1);
      const request = http.get({ port, host: '127.0.0.1', agent: false });
      await until('it is there', () => waiting.length === 1);
      t.like(server.stats(), { connections: { unknown: 1, http1: 1, http2: 1 }, accepted: { http1: 1, http2: 1 } });
      waiting.pop()?.();
      const [response] = (await once(request, 'response')) as [IncomingMessage];
      response.resume();
      socket.destroy();
    }
    client.destroy();
    await until('all have gone', () => Object.values(server.stats().connections).every((count) => count === 0));
  });
}

test('streams that end in a reset are counted, and sessions that have too many of them', async (t) => {
  const { server, session } = await openPort(t, () => {}, { resetBurst: 3, resetsPerSecond: 1 });
  const client = await session();
  const closed = once(client, 'close');
  for (let count = 0; count < 8; count++) {
    client
      .request()
      .on('error', () => {})
      .close(constants.NGHTTP2_CANCEL);
  }
  await closed;
  await until('it is counted', () => server.stats().cutOff.resets === 1);
  const { resets, streams, cutOff } = server.stats();
  t.true(resets > 3 && resets <= streams, `${resets} of ${streams}`);
  t.deepEqual(cutOff, { ...NONE, resets: 1 });
});

test('clients that are asked to go are counted once', async (t) => {
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
  t.deepEqual(server.stats().retired, { http1: 1, http2: 1 });
  agent.destroy();
  client.destroy();
  await closing;
  t.deepEqual(server.stats().retired, { http1: 1, http2: 1 });
});

test('what never says what it speaks, or speaks something else, is counted when it is cut off', async (t) => {
  const { server, connect } = await openPort(t, () => {}, { prefaceTimeoutMs: 50 });
  await untilClosed(await connect());
  t.is(server.stats().cutOff.preface, 1);
  const tls = await connect();
  tls.write(Buffer.from([22, 3, 1, 0, 200]));
  await untilClosed(tls);
  t.deepEqual(server.stats().cutOff, { ...NONE, preface: 2 });
});
