import { spawn } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import test from 'ava';
import { until } from '../helpers/poll.js';
import { openPort, untilClosed } from './fixture.js';

const EVERY_STREAM = 2 ** 31 - 1;
const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';

/** A listener that answers when it is told to. */
function waiting() {
  const open: http.ServerResponse[] = [];
  const listener: http.RequestListener = (request, response) => {
    if (request.url === '/now') response.end('now');
    else open.push(response);
  };
  return {
    listener,
    open,
    answer() {
      for (const response of open.splice(0)) response.end('later');
    },
  };
}

test('an old session is asked to go in two stages; what is in flight completes', async (t) => {
  const { listener, open, answer } = waiting();
  const { session } = await openPort(t, listener, { maxAgeMs: 300, graceMs: 5000 });
  const client = await session();
  const stages: [number, number][] = [];
  client.on('goaway', (code: number, last: number) => stages.push([code, last]));
  const before = client.request({ ':path': '/before' });
  before.setEncoding('utf8');
  await until('both stages', () => stages.length >= 2);
  t.deepEqual(stages.slice(0, 2), [
    [0, EVERY_STREAM],
    [0, 1],
  ]);
  t.is(open.length, 1);
  answer();
  t.is((await before.toArray()).join(''), 'later');
  await once(client, 'close');
});

test('an old session on which nothing moves any more is cut off', async (t) => {
  const { listener, open } = waiting();
  const { session } = await openPort(t, listener, { maxAgeMs: 200, graceMs: 400 });
  const client = await session();
  const stream = client.request({ ':path': '/never' });
  stream.on('error', () => {});
  const start = performance.now();
  await once(stream, 'close');
  t.true(performance.now() - start >= 550);
  t.is(open.length, 1);
});

test('an old connection of HTTP/1.1 says with its next response that it goes', async (t) => {
  const { listener } = waiting();
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
  await until('it is old', async () => (await ask()) === 'close');
  t.is(await ask(), 'keep-alive');
});

test('a server that closes lets what is in flight complete, on every kind of connection, and takes new ones until then', async (t) => {
  const { listener, open, answer } = waiting();
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
  await until('both are in flight', () => open.length === 2);

  const closed = server.close();
  await Promise.all([untilClosed(idleHttp1), untilClosed(silent), once(idle, 'close')]);
  const late = await connect();
  late.write(GET.replace('/', '/now'));
  t.regex(await untilClosed(late), /^HTTP\/1\.1 200 OK\r\n(?:.*\r\n)*connection: close\r\n(?:.*\r\n)*\r\nnow/i);
  answer();
  t.is((await stream.toArray()).join(''), 'later');
  t.regex(await untilClosed(http1), /later$/);
  await closed;
  t.is(server.address(), null);
  await t.throwsAsync(connect());
});

test('a download that is still being sent completes, though its response has been ended', async (t) => {
  const body = Buffer.alloc(32 * 1024 * 1024, 'x');
  for (const secure of [false, true]) {
    const { server, port } = await openPort(t, (_request, response) => response.end(body), { secure });
    const get = secure ? https.get : http.get;
    const request = get({ port, host: '127.0.0.1', rejectUnauthorized: false, agent: false });
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    const closed = server.close();
    await wait(300); // in which an idle connection would be let go several times
    t.is(Buffer.concat(await response.toArray()).byteLength, body.byteLength);
    await closed;
  }
});

test('what does not complete in time is cut off', async (t) => {
  const { listener, open } = waiting();
  for (const secure of [false, true]) {
    const { server, session, connect } = await openPort(t, listener, { secure });
    const stream = (await session()).request({ ':path': '/' });
    stream.on('error', () => {});
    await until('it is in flight', () => open.length === 1);
    open.length = 0;
    const cut = [once(stream, 'close'), untilClosed(await connect())];
    const start = performance.now();
    await server.close({ timeoutMs: 300 });
    const elapsed = performance.now() - start;
    t.true(elapsed >= 290 && elapsed < 5000, `${elapsed} ms`);
    await Promise.all(cut);
    await server.close();
  }
});

test('nothing keeps the process once its server is closed', async (t) => {
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
  const [status] = (await Promise.race([exit, wait(3000, ['still there'])])) as [unknown];
  t.is(status, 0);
});

test('a port that is taken is an error of listen', async (t) => {
  const { port } = await openPort(t, () => {});
  const { createServer } = await import('../../src/server/server.js');
  const error = await t.throwsAsync(createServer(() => {}).listen({ port, host: '127.0.0.1' }));
  t.is((error as NodeJS.ErrnoException).code, 'EADDRINUSE');
});
