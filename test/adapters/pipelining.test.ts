import { once } from 'node:events';
import net, { type Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import tls from 'node:tls';
import test from 'ava';
import { createSender } from '../../src/adapters/node.js';
import type { Store } from '../../src/contract/store.js';
import { memoryStore } from '../../src/stores/memory.js';
import { open } from '../behaviour/site.js';
import { request } from '../helpers/client.js';
import { assertAllBack, assertBytes, openFileSite, responsesOf } from '../helpers/file-site.js';
import { KIB, MIB, writePattern } from '../helpers/files.js';
import { until } from '../helpers/poll.js';
import { RawConnection } from '../helpers/raw.js';
import { type RunningServer, startListener } from '../helpers/servers.js';

const COUNT = 400;

/** Opens a connection, sends a GET request for each path at once, and does not read. */
async function sendRequests(server: RunningServer, paths: readonly string[]): Promise<Socket> {
  const address = { host: '127.0.0.1', port: server.port };
  const socket = server.tls ? tls.connect({ ...address, ca: server.certificate?.cert }) : net.connect(address);
  await once(socket, server.tls ? 'secureConnect' : 'connect');
  socket.on('error', () => {});
  socket.write(paths.map((path) => `GET ${path} HTTP/1.1\r\nhost: localhost\r\n\r\n`).join(''));
  return socket;
}

for (const kind of ['http', 'https'] as const) {
  for (const only of [undefined, 'mapped', 'copied', 'read'] as const) {
    test(`${kind}, ${only ?? 'every source'}: ${COUNT} requests on one connection hold few resources, and none after it drops`, async (t) => {
      let begun = 0;
      const site = await openFileSite(t, kind, { only, onExchange: () => begun++ });
      const { handler } = site;
      writePattern(site.directory, 'file', 4 * MIB, 1);
      const socket = await sendRequests(site.server, Array(COUNT).fill('/file'));
      // Of a TLS connection, one record at a time is read.
      await until('the handlers have begun', () => begun >= 300);
      await until(
        'the first response is being sent',
        () => handler.stats().mappedBytes + handler.stats().pooledBytes > 0,
      );
      // Only the first response holds resources: one descriptor and its windows.
      const { openFiles, mappedBytes, pooledBytes } = handler.stats();
      t.is(openFiles, 1);
      t.true(mappedBytes + pooledBytes <= 2 * MIB, `${mappedBytes + pooledBytes} bytes are used by one connection`);
      t.true(pooledBytes <= MIB, `${pooledBytes} bytes are used by buffers`);
      if (kind === 'http') socket.resetAndDestroy();
      else socket.destroy();
      await until('all responses are over', () => responsesOf(handler) === begun);
      await assertAllBack(t, site);
    });
  }

  test(`${kind}: ${COUNT} requests on one connection are answered in order`, async (t) => {
    const site = await openFileSite(t, kind);
    const files = [3000, 70 * KIB, 20 * KIB, 1].map((size, index) =>
      writePattern(site.directory, `${index}`, size, index),
    );
    const order = Array.from({ length: COUNT }, (_, index) => (index * 7) % 4);
    const socket = await sendRequests(
      site.server,
      order.map((name) => `/${name}`),
    );
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    await until('all responses are over', () => responsesOf(site.handler) === COUNT);
    socket.end();
    await once(socket, 'close');
    let rest = Buffer.concat(chunks);
    for (const [index, name] of order.entries()) {
      const bodyStart = rest.indexOf('\r\n\r\n') + 4;
      t.regex(rest.subarray(0, bodyStart).toString('latin1'), /^HTTP\/1\.1 200 OK\r\n/);
      const expected = files[name] ?? Buffer.alloc(0);
      assertBytes(t, rest.subarray(bodyStart, bodyStart + expected.byteLength), expected, `response ${index}`);
      rest = rest.subarray(bodyStart + expected.byteLength);
    }
    t.is(rest.byteLength, 0);
    await assertAllBack(t, site);
  });
}

const HOSTS = ['http', 'https', 'express-http', 'koa-http', 'fastify-http', 'hono-http', 'port-http'] as const;

/** Store that writes down when its calls begin and end. A call takes longer than the parser needs for the next request. */
function recordingStore(): { readonly store: Store; readonly calls: string[] } {
  const calls: string[] = [];
  const memory = memoryStore();
  const record = async <T>(name: string, call: () => T | Promise<T>): Promise<T> => {
    calls.push(`${name} begins`);
    for (let turns = 0; turns < 20; turns++) await setImmediate();
    const result = await call();
    calls.push(`${name} ends`);
    return result;
  };
  return {
    calls,
    store: {
      get: (key) => record('get', () => memory.get(key)),
      put: (key, body, options) => record('put', () => memory.put(key, body, options)),
      delete: (key) => record('delete', () => memory.delete(key)),
    },
  };
}

const upload = (body: string): string =>
  `PUT /key HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
const bodyless = (method: string): string => `${method} /key HTTP/1.1\r\nHost: localhost\r\n\r\n`;

for (const kind of HOSTS) {
  test(`${kind}: pipelined requests that are not all safe are performed one after the other`, async (t) => {
    const { store, calls } = recordingStore();
    const { server } = await open(t, kind, { store });
    const connection = await RawConnection.open(t, server);
    const names = ['GET', 'old', 'new', 'GET', 'DELETE', 'GET'];
    connection.write(names.map((name) => (name === name.toUpperCase() ? bodyless(name) : upload(name))).join(''));
    await connection.until(/(?:HTTP\/1\.1 .*){6}Not found.*\}\n$/s);
    const statuses = [...connection.text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => Number(status));
    t.deepEqual(statuses, [404, 200, 200, 200, 204, 404]);
    t.regex(connection.text, /\r\n\r\nnewHTTP/);
    const steps = ['get', 'put', 'put', 'get', 'delete', 'get'].flatMap((name) => [`${name} begins`, `${name} ends`]);
    t.deepEqual(calls, steps);
  });
}

test('pipelined safe requests are performed at the same time', async (t) => {
  let begun = 0;
  let release = (): void => {};
  const all = new Promise<void>((resolve) => {
    release = resolve;
  });
  const store: Store = {
    async get() {
      if (++begun === 3) release();
      await all;
      return undefined;
    },
  };
  const { server } = await open(t, 'http', { store });
  const connection = await RawConnection.open(t, server);
  connection.write(['GET', 'HEAD', 'GET'].map(bodyless).join(''));
  await connection.until(/(?:HTTP\/1\.1 404.*){3}/s);
  t.is(begun, 3);
});

// Not node:https: the parser of Node ends a TLS connection that is paused (README, "Production").
for (const kind of [...HOSTS.filter((kind) => kind !== 'https'), 'port-https'] as const) {
  test(`${kind}: a connection whose first response takes long is read no further`, async (t) => {
    let release = (): void => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    let lookups = 0;
    const store: Store = {
      async get(key) {
        lookups++;
        if (key === 'first') await released;
        return undefined;
      },
    };
    const { server, ask } = await open(t, kind, { store });
    const connection = await RawConnection.open(t, server);
    const padding = 'x'.repeat(1000);
    connection.write('GET /first HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await until('the first lookup has begun', () => lookups === 1);
    connection.write(`GET /next HTTP/1.1\r\nHost: localhost\r\nX-Padding: ${padding}\r\n\r\n`.repeat(5000));
    await until('later requests wait', () => lookups >= 30);
    // The server has time to read all of them.
    for (let turn = 0; turn < 50; turn++) await ask('GET', '/other');
    t.true(lookups <= 50 + 300, `${lookups} lookups`);
    release();
    await until('all requests are answered', () => connection.text.split('HTTP/1.1 404').length - 1 === 5001);
  });
}

test('a connection with too many waiting requests is closed', async (t) => {
  const store: Store = { get: (key) => (key === 'first' ? new Promise(() => {}) : undefined) };
  const { server } = await open(t, 'http', { store });
  const connection = await RawConnection.open(t, server);
  connection.write(`GET /first HTTP/1.1\r\nHost: localhost\r\n\r\n${bodyless('GET').repeat(2000)}`);
  await until('the connection is closed', () => connection.error !== undefined);
  t.is(connection.text, '');
});

test('a waiting route whose request has been read learns that the client has disconnected', async (t) => {
  const hot = createSender();
  t.teardown(() => hot.close());
  const errors: unknown[] = [];
  let sending = 0;
  const server = await startListener(t, 'http', (request, response) => {
    if (request.url === '/first') return; // never answered
    request.resume().once('close', () => {
      hot.send(request, response, { kind: 'bytes', bytes: Buffer.from('a') }).catch((error) => errors.push(error));
      sending++;
    });
  });
  const connection = await RawConnection.open(t, server);
  connection.write(`${bodyless('GET').replace('/key', '/first')}${upload('read').repeat(20)}`);
  await until('all routes wait', () => sending === 20);
  connection.destroy();
  await until('all routes have learned it', () => errors.length === 20);
  for (const error of errors) t.like(error, { code: 'ERR_HOTBLOB_CLIENT_GONE' });
});

for (const kind of ['http', 'h2c-compat'] as const) {
  test(`${kind}: an unsafe request whose client has disconnected before the handler sees it is not performed`, async (t) => {
    const deleted: string[] = [];
    const store: Store = { get: () => undefined, delete: async (key) => deleted.push(key) > 0 };
    let waiting = 0;
    let passed = 0;
    const { server, ask, handler } = await open(
      t,
      kind,
      { store },
      {
        before(request, response, next) {
          if (request.url !== '/gone') return next();
          waiting++;
          // Like a host that looks up a session first.
          response.once('close', () => {
            next();
            passed++;
          });
        },
      },
    );
    const client = new AbortController();
    const abandoned = request(server, { method: 'DELETE', path: '/gone', signal: client.signal });
    await until('the host has the request', () => waiting === 1);
    client.abort();
    await t.throwsAsync(abandoned);
    await until('the handler has ended it', () => passed === 1 && handler.stats().active === 0);
    t.is((await ask('DELETE', '/kept')).status, 204);
    t.deepEqual(deleted, ['kept']);
  });
}
