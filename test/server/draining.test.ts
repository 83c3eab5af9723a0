import { spawn } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import type http2 from 'node:http2';
import https from 'node:https';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import test from 'ava';
import { settled, until } from '../helpers/poll.js';
import { openPort, untilClosed } from './fixture.js';

const MAX_STREAM_ID = 2 ** 31 - 1;
const GET = 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n';

/** Listener that responds to `/now` at once, and to other paths when `respond()` is called. */
function heldResponses() {
  const open: http.ServerResponse[] = [];
  const listener: http.RequestListener = (request, response) => {
    if (request.url === '/now') response.end('now');
    else open.push(response);
  };
  return {
    listener,
    open,
    respond() {
      for (const response of open.splice(0)) response.end('later');
    },
  };
}

test('a session older than maxAgeMs gets two GOAWAYs, and its streams in flight complete', async (t) => {
  const { listener, open, respond } = heldResponses();
  const { session } = await openPort(t, listener, { maxAgeMs: 300, graceMs: 5000 });
  const client = await session();
  const goaways: [number, number][] = [];
  client.on('goaway', (code: number, last: number) => goaways.push([code, last]));
  const before = client.request({ ':path': '/before' });
  before.setEncoding('utf8');
  await until('both GOAWAYs have arrived', () => goaways.length >= 2);
  t.deepEqual(goaways.slice(0, 2), [
    [0, MAX_STREAM_ID],
    [0, 1],
  ]);
  t.is(open.length, 1);
  respond();
  t.is((await before.toArray()).join(''), 'later');
  await once(client, 'close');
});

test('a drained session without progress is destroyed after graceMs', async (t) => {
  const { listener, open } = heldResponses();
  const { session } = await openPort(t, listener, { maxAgeMs: 200, graceMs: 400 });
  const client = await session();
  const stream = client.request({ ':path': '/never' });
  stream.on('error', () => {});
  const start = performance.now();
  await once(stream, 'close');
  t.true(performance.now() - start >= 550);
  t.is(open.length, 1);
});

test('an HTTP/1.1 connection older than maxAgeMs closes after its next response', async (t) => {
  const { listener } = heldResponses();
  const { port } = await openPort(t, listener, { maxAgeMs: 300 });
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  t.teardown(() => agent.destroy());
  const ask = async () => {
    const request = http.get({ port, host: '127.0.0.1', path: '/now', agent });
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    t.is((await response.toArray()).join(''), 'now');
    return response.headers.connection;
  };
  t.is(await ask(), 'keep-alive');
  await until('the connection is older than maxAgeMs', async () => (await ask()) === 'close');
  t.is(await ask(), 'keep-alive');
});

test('close() lets requests in flight complete on every kind of connection, and accepts connections until then', async (t) => {
  const { listener, open, respond } = heldResponses();
  const { server, session, connect } = await openPort(t, listener);
  const h2 = await session();
  const idle = await session();
  const stream = h2.request({ ':path': '/' });
  const http1 = await connect();
  http1.write(GET);
  const idleHttp1 = await connect();
  idleHttp1.write(GET.replace('/', '/now'));
  await once(idleHttp1, 'data');
  const silent = await connect();
  await until('both requests are in flight', () => open.length === 2);

  const closed = server.close();
  await Promise.all([untilClosed(idleHttp1), untilClosed(silent), once(idle, 'close')]);
  const late = await connect();
  late.write(GET.replace('/', '/now'));
  t.regex(await untilClosed(late), /^HTTP\/1\.1 200 OK\r\n(?:.*\r\n)*connection: close\r\n(?:.*\r\n)*\r\nnow/i);
  respond();
  t.is((await stream.toArray()).join(''), 'later');
  t.regex(await untilClosed(http1), /later$/);
  await closed;
  t.is(server.address(), null);
  await t.throwsAsync(connect());
});

test('close() lets a download complete whose response has been ended but not yet sent', async (t) => {
  const body = Buffer.alloc(32 * 1024 * 1024, 'x');
  for (const secure of [false, true]) {
    const { server, port } = await openPort(t, (_request, response) => response.end(body), { secure });
    const get = secure ? https.get : http.get;
    const request = get({ port, host: '127.0.0.1', rejectUnauthorized: false, agent: false });
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    const closed = server.close();
    await wait(300); // several check intervals, in which an idle connection would be closed
    t.is(Buffer.concat(await response.toArray()).byteLength, body.byteLength);
    await closed;
  }
});

test('close() destroys connections with requests in flight after timeoutMs', async (t) => {
  const { listener, open } = heldResponses();
  for (const secure of [false, true]) {
    const { server, session, connect } = await openPort(t, listener, { secure });
    const stream = (await session()).request({ ':path': '/' });
    stream.on('error', () => {});
    await until('the request is in flight', () => open.length === 1);
    open.length = 0;
    const closed = [once(stream, 'close'), untilClosed(await connect())];
    const start = performance.now();
    await server.close({ timeoutMs: 300 });
    const elapsed = performance.now() - start;
    t.true(elapsed >= 290 && elapsed < 5000, `${elapsed} ms`);
    await Promise.all(closed);
    await server.close();
  }
});

// Otherwise nghttp2 would use the stream whose end it is processing after Node has freed it.
test('a second close() waits for the first one, and can shorten its time', async (t) => {
  const { listener, open } = heldResponses();
  const { server, session } = await openPort(t, listener, { secure: false });
  const stream = (await session()).request({ ':path': '/' });
  stream.on('error', () => {});
  await until('the request is in flight', () => open.length === 1);
  const order: string[] = [];
  const streamClosed = once(stream, 'close').then(() => order.push('the stream is closed'));
  const first = server.close({ timeoutMs: 3_600_000, stopListening: true });
  t.is(server.address(), null);
  const second = server.close().then(() => order.push('the second close() resolves'));
  await settled(() => order.length);
  t.deepEqual(order, []);
  await Promise.all([server.close({ timeoutMs: 0 }), first, second, streamClosed]);
  t.is(order.length, 2);
});

test('close() at the end of an upload resets the streams of its session only after the read', async (t) => {
  const resets: Promise<boolean>[] = [];
  const { server, session } = await openPort(t, (request, response) => {
    if (request.url !== '/complete') return;
    const { stream } = response as unknown as http2.Http2ServerResponse;
    request.resume().on('end', () => {
      resets.push(new Promise((resolve) => setImmediate(() => resolve(stream.destroyed))));
      resets.push(new Promise((resolve) => stream.on('close', () => resolve(stream.destroyed))));
      void server.close({ timeoutMs: 0 });
    });
  });
  const client = await session();
  let lastStreamId: number | undefined;
  client.on('goaway', (_code: number, id: number) => {
    lastStreamId = id;
  });
  const closed = new Promise((resolve) => client.once('close', resolve));
  client.request({ ':method': 'PUT', ':path': '/incomplete' }).on('error', () => {});
  client
    .request({ ':method': 'PUT', ':path': '/complete' })
    .on('error', () => {})
    .end('body');
  await closed;
  t.deepEqual(await Promise.all(resets), [false, true]);
  t.is(lastStreamId, 3, 'the client learns which requests were received');
});

test('a closed server does not keep the process alive', async (t) => {
  const code = `
    import http2 from 'node:http2';
    import { createServer } from './src/server/server.js';
    const server = createServer((request, response) => response.end('x'));
    await server.listen({ port: 0, host: '127.0.0.1' });
    const { port } = server.address();
    await (await fetch('http://127.0.0.1:' + port)).text();
    const client = http2.connect('http://127.0.0.1:' + port);
    client.request({ ':path': '/' }).resume().on('close', async () => {
      await server.close();
      console.log('closed');
    });
  `;
  const child = spawn(process.execPath, ['--import=tsx', '--input-type=module', '--eval', code]);
  t.teardown(() => child.kill('SIGKILL'));
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const exit = once(child, 'exit');
  t.is((await lines.next()).value, 'closed');
  const [status] = (await Promise.race([exit, wait(3000, ['still running'])])) as [unknown];
  t.is(status, 0);
});

test('listen() rejects with EADDRINUSE when the port is in use', async (t) => {
  const { port } = await openPort(t, () => {});
  const { createServer } = await import('../../src/server/server.js');
  const error = await t.throwsAsync(createServer(() => {}).listen({ port, host: '127.0.0.1' }));
  t.is((error as NodeJS.ErrnoException).code, 'EADDRINUSE');
});
