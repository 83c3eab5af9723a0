import type http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { createHandler } from '../../src/handler/handler.js';
import type { HandlerOptions } from '../../src/handler/options.js';
import { directoryStore } from '../../src/stores/directory/store.js';
import { memoryStore } from '../../src/stores/memory.js';
import { afterHttp2Read } from '../../src/util/after-http2-read.js';
import { type Request, request } from '../helpers/client.js';
import { MIB, temporaryDirectory } from '../helpers/files.js';
import { until } from '../helpers/poll.js';
import { type Kind, type RunningServer, startServer } from '../helpers/servers.js';
import { openPort, untilClosed } from '../server/fixture.js';

const KINDS: readonly Kind[] = ['http', 'https', 'h2c', 'h2', 'port-http', 'port-h2', 'express-http', 'fetch-http'];

async function* heldOpen(text: string): AsyncGenerator<Buffer> {
  yield Buffer.from(text);
  await new Promise(() => {});
}

async function* slowly(): AsyncGenerator<Buffer> {
  for (;;) {
    yield Buffer.alloc(10);
    await wait(20);
  }
}

function start(t: ExecutionContext, kind: Kind, options: Partial<HandlerOptions>): Promise<RunningServer> {
  return startServer(t, kind, createHandler({ store: memoryStore(), ...options }));
}

for (const kind of KINDS) {
  test(`an upload that stops, or is slower than allowed, is answered with 408, ${kind}`, async (t) => {
    const server = await start(t, kind, { uploadTimeoutMs: 300, minUploadBytesPerSecond: MIB });
    const put = (body: Request['body']) => request(server, { method: 'PUT', path: '/key', body });
    // An HTTP/1.1 client of Node sends no headers before the first bytes of the body.
    for (const body of [heldOpen('abc'), slowly(), ...(server.version === 2 ? [heldOpen('')] : [])]) {
      const { status, body: text } = await put(body);
      t.is(status, 408);
      t.deepEqual(JSON.parse(text.toString()), { message: 'The upload took too long.' });
    }
    t.is((await request(server, { path: '/key' })).status, 404);
    t.is((await put(Buffer.from('complete'))).status, 200);
  });
}

for (const kind of ['http', 'h2c'] as const) {
  test(`time in which the store does not read does not count against the client, ${kind}`, async (t) => {
    const inner = memoryStore();
    const server = await start(t, kind, {
      store: {
        get: (key) => inner.get(key),
        async put(key, body, options) {
          await wait(900);
          return inner.put(key, body, options);
        },
      },
      uploadTimeoutMs: 300,
      minUploadBytesPerSecond: 1,
    });
    const { status } = await request(server, { method: 'PUT', path: '/key', body: Buffer.alloc(8 * MIB) });
    t.is(status, 200);
  });
}

const MAX_OPEN_FILES = 16;

for (const [kind, slots] of [
  ['http', 8], // half of the descriptors
  ['h2c', 4], // half of these for one connection
] as const) {
  test(`uploads that are held open leave descriptors for others, ${kind}`, async (t) => {
    const store = await directoryStore(await temporaryDirectory(t));
    t.teardown(() => store.close());
    const handler = createHandler({ store, maxOpenFiles: MAX_OPEN_FILES });
    const server = await startServer(t, kind, handler);
    const keys = Array.from({ length: MAX_OPEN_FILES }, (_, index) => `/${index}`);
    const upload = (path: string) => request(server, { method: 'PUT', path, body: Buffer.from(path) });
    for (const path of keys) t.is((await upload(path)).status, 200);

    const session = http2.connect(`http://127.0.0.1:${server.port}`).on('error', () => {});
    const sockets = keys.map(() => net.connect(server.port, '127.0.0.1').on('error', () => {}));
    t.teardown(() => {
      afterHttp2Read(() => session.destroy());
      for (const socket of sockets) socket.destroy();
    });
    const responses: string[] = [];
    for (const [index, socket] of sockets.entries()) {
      if (kind === 'http') {
        socket.on('data', (chunk) => responses.push(`${chunk}`));
        socket.write(`PUT /held-${index} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc`);
      } else {
        const stream = session.request({ ':method': 'PUT', ':path': `/held-${index}` });
        stream.on('error', () => {}).on('response', (headers) => responses.push(JSON.stringify(headers)));
        stream.write('abc');
      }
    }
    await until('as many uploads are in flight as may be', () => handler.stats().openFiles >= slots);
    for (const path of keys) t.is((await request(server, { path })).body.toString(), path);
    t.true(handler.stats().openFiles <= MAX_OPEN_FILES);
    // The session of request() is another connection.
    if (kind === 'h2c') t.is((await upload('/another')).status, 200);
    await until('the others are refused', () => responses.length === MAX_OPEN_FILES - slots);
    for (const response of responses) {
      t.regex(response, /\b503\b/);
      t.regex(response, /retry-after/);
    }
    afterHttp2Read(() => session.destroy());
    for (const socket of sockets) socket.destroy();
    await until('their slots are free', async () => (await upload('/afterwards')).status === 200);
  });
}

test('an application behind createServer loses the connection of a client that stops sending', async (t) => {
  const ended: string[] = [];
  const listener: http.RequestListener = (request, response) => {
    if (request.url === '/unread') return void setTimeout(() => response.end('done'), 900);
    request.on('close', () => ended.push(`${request.url} ${request.complete}`));
    request.resume();
  };
  const { server, connect } = await openPort(t, listener, { bodyTimeoutMs: 300 });
  const send = async (path: string) => {
    const socket = await connect();
    socket.write(`PUT ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc`);
    return untilClosed(socket);
  };
  const unread = send('/unread');
  t.is(await send('/read'), '');
  await until('the request has closed', () => ended.length > 0);
  t.deepEqual(ended, ['/read false']);
  t.is(server.stats().terminated.stalled, 1);
  t.regex(await unread, /done$/);
});
