import { spawn } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import net, { type AddressInfo } from 'node:net';
import test from 'ava';
import fc from 'fast-check';
import { createHandler } from '../../src/handler/handler.js';
import { directoryStore } from '../../src/stores/directory/store.js';
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
    stream.on('close', () => session.destroy());
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
