import { spawn } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import net, { type AddressInfo } from 'node:net';
import test from 'ava';
import fc from 'fast-check';
import { streamListener } from '../../src/adapters/node.js';
import { watchSessions } from '../../src/adapters/watch-sessions.js';
import { createHandler } from '../../src/handler/handler.js';
import { directoryStore } from '../../src/stores/directory/store.js';
import { afterHttp2Read } from '../../src/util/after-http2-read.js';
import { certificate } from '../helpers/certificate.js';
import { Frames } from '../helpers/frames.js';
import { until } from '../helpers/poll.js';
import { temporaryDirectory } from '../stores/fixture.js';
import { openPort } from './fixture.js';

const MIB = 1024 * 1024;
/** Larger than the socket buffers. */
const SIZE = 4 * MIB;

interface Disconnect {
  /** Side whose bytes are counted. */
  readonly countedSide: 'client' | 'server';
  /** Number of bytes after which the connection ends. */
  readonly bytes: number;
  /** `reset`: the socket sends RST. `close`: it sends FIN. */
  readonly how: 'reset' | 'close';
}

/** Starts a proxy that disconnects from the server after a given number of bytes. */
async function startDisconnectingProxy(port: number, disconnect: Disconnect): Promise<{ port: number; close(): void }> {
  const proxy = net.createServer((client) => {
    const server = net.connect(port, '127.0.0.1');
    let left = disconnect.bytes;
    const forward = (from: net.Socket, to: net.Socket, isCounted: boolean): void => {
      from.on('error', () => {}).on('close', () => to.destroy());
      from.on('data', (chunk: Buffer) => {
        to.write(isCounted ? chunk.subarray(0, left) : chunk);
        if (!isCounted) return;
        left -= chunk.byteLength;
        if (left > 0) return;
        if (disconnect.how === 'reset') server.resetAndDestroy();
        else server.destroy();
      });
    };
    forward(client, server, disconnect.countedSide === 'client');
    forward(server, client, disconnect.countedSide === 'server');
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  return { port: (proxy.address() as AddressInfo).port, close: () => void proxy.close() };
}

/** Sends a download, or an upload with trailers. Resolves when the request has closed. */
async function send(kind: 'http' | 'https' | 'h2c' | 'h2', port: number, method: 'GET' | 'PUT'): Promise<void> {
  const url = `${kind === 'http' || kind === 'h2c' ? 'http' : 'https'}://127.0.0.1:${port}`;
  const body = Buffer.alloc(300_000, 'x');
  if (kind === 'h2' || kind === 'h2c') {
    const session = http2.connect(url, { rejectUnauthorized: false });
    const closed = new Promise((resolve) => session.on('close', resolve));
    session.on('error', () => {});
    const stream = session.request(
      { ':method': method, ':path': method === 'GET' ? '/key' : '/other' },
      { waitForTrailers: true },
    );
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-checksum': 'abc' }));
    stream.on('error', () => {}).resume();
    stream.on('close', () => afterHttp2Read(() => session.destroy()));
    if (method === 'PUT') stream.end(body);
    await closed;
    return;
  }
  const agent = new (kind === 'http' ? http : https).Agent();
  const request = (kind === 'http' ? http : https).request(`${url}/${method === 'GET' ? 'key' : 'other'}`, {
    method,
    agent,
    rejectUnauthorized: false,
    headers: method === 'PUT' ? { trailer: 'x-checksum', 'transfer-encoding': 'chunked' } : {},
  });
  const closed = new Promise((resolve) => request.on('close', resolve));
  request.on('error', () => {}).on('response', (response) => response.on('error', () => {}).resume());
  if (method === 'PUT') {
    request.write(body);
    request.addTrailers({ 'x-checksum': 'abc' });
  }
  request.end();
  await closed;
  agent.destroy();
}

const disconnects = fc.record<Disconnect>({
  countedSide: fc.constantFrom('client', 'server'),
  // The first bytes are the preface, the handshake and headers. The bodies follow.
  bytes: fc.oneof(
    fc.integer({ min: 1, max: 600 }),
    fc.integer({ min: 600, max: 4000 }),
    fc.integer({ min: 1, max: SIZE }),
  ),
  how: fc.constantFrom('reset', 'close'),
});

// An uncaught exception would end this process, and with it the test.
test('clients that disconnect after any byte affect only their own response', async (t) => {
  // A directory store, so that there are mappings and buffers to release.
  const handler = createHandler({ store: await directoryStore(await temporaryDirectory(t)) });
  const plain = await openPort(t, handler);
  const secure = await openPort(t, handler, { secure: true });
  const put = () => fetch(`http://127.0.0.1:${plain.port}/key`, { method: 'PUT', body: Buffer.alloc(SIZE, 'y') });
  t.is((await put()).status, 200);
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('http', 'https', 'h2c', 'h2'),
      fc.constantFrom('GET', 'PUT'),
      disconnects,
      async (kind, method, disconnect) => {
        const { port } = kind === 'http' || kind === 'h2c' ? plain : secure;
        const proxy = await startDisconnectingProxy(port, disconnect);
        await send(kind, proxy.port, method);
        proxy.close();
      },
    ),
    { numRuns: 150 },
  );
  t.is((await put()).status, 200);
  t.is((await (await fetch(`http://127.0.0.1:${plain.port}/key`)).arrayBuffer()).byteLength, SIZE);
  await until(
    'all buffers and mappings are released',
    () => handler.stats().pooledBytes === 0 && handler.stats().mappedBytes === 0,
  );
  await Promise.all([plain.server.close({ timeoutMs: 5000 }), secure.server.close({ timeoutMs: 5000 })]);
});

test('the download of a client that is stopped by SIGSTOP is ended', async (t) => {
  const bytes = Buffer.alloc(64 * MIB, 'x');
  const handler = createHandler({ store: { get: () => ({ kind: 'bytes', bytes }) } });
  const limits = { writeTimeoutMs: 300, minBytesPerSecond: 100 * MIB, pingIntervalMs: 200, pingTimeoutMs: 200 };
  const { port } = await openPort(t, handler, limits);
  for (const version of ['--http1.1', '--http2-prior-knowledge']) {
    const before = handler.stats().responses[200] ?? 0;
    const client = spawn('curl', ['--silent', version, '--limit-rate', '1M', `http://127.0.0.1:${port}/key`]);
    t.teardown(() => client.kill('SIGKILL'));
    await once(client.stdout, 'data');
    client.kill('SIGSTOP');
    await until(`${version}: the response is over`, () => handler.stats().responses[200] === before + 1);
    client.kill('SIGKILL');
  }
  t.true(handler.stats().sent.bytes.bytes < 2 * bytes.byteLength);
});

/** Frames after which nghttp2 sends GOAWAY with an error and ignores everything that follows (RFC 9113, 5.4.1). */
const CONNECTION_ERRORS: readonly ((client: Frames) => void)[] = [
  (client) => client.send(9, 4, 1, Buffer.from([0x82])), // CONTINUATION without HEADERS
  (client) => client.send(4, 0, 0, Buffer.alloc(5)), // SETTINGS of a wrong length
  (client) => client.send(1, 5, 1, Buffer.alloc(6, 0xff)), // HEADERS that HPACK cannot decode
  (client) => client.send(0, 0, 5, Buffer.from('x')), // DATA on an idle stream
];

for (const secure of [false, true]) {
  test(`connections that their client closes after a connection error are closed, ${secure ? 'h2' : 'h2c'}`, async (t) => {
    const bytes = Buffer.alloc(64 * MIB, 'x');
    const handler = createHandler({ store: { get: () => ({ kind: 'bytes', bytes }) } });
    const cert = secure ? await certificate() : undefined;
    const { port, server } = await openPort(t, handler, { secure });
    // Node 20 ignores the close of a client after such an error, on its own servers too.
    const mounted = cert ? http2.createSecureServer(cert) : http2.createServer();
    mounted.on('stream', streamListener(handler));
    watchSessions(mounted);
    const sockets = new Set<net.Socket>();
    mounted.on('connection', (socket) => sockets.add(socket.on('close', () => sockets.delete(socket))));
    mounted.listen(0, '127.0.0.1');
    await once(mounted, 'listening');
    t.teardown(() => mounted.close());
    for (const each of [port, (mounted.address() as AddressInfo).port]) {
      for (const isDownloading of [false, true]) {
        for (const sendError of CONNECTION_ERRORS) {
          const client = await Frames.connect(t, { port: each, certificate: cert });
          if (isDownloading) client.get(1, '/key');
          sendError(client);
          await until('the server has ended it', () => client.hasGoaway || client.socket.destroyed);
          client.socket.destroy();
        }
      }
    }
    // By default, an unanswered PING would end them after 50 s.
    const LIMIT_MS = 20_000;
    await until('the server has closed them', () => server.stats().connections.http2 === 0, LIMIT_MS);
    await until('the server of node:http2 has closed them', () => sockets.size === 0, LIMIT_MS);
    await until('all buffers are released', () => handler.stats().pooledBytes === 0);
    t.is(server.stats().terminated.ping, 0);
  });
}
