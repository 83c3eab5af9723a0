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
/** More than what sockets take. */
const SIZE = 4 * MIB;

interface Cut {
  /** Who has said so many bytes when the client dies. */
  readonly after: 'client' | 'server';
  readonly bytes: number;
  /** By a reset, or by closing the socket. */
  readonly how: 'reset' | 'close';
}

/** A proxy whose clients die at a given byte. */
async function deadly(port: number, cut: Cut): Promise<{ port: number; close(): void }> {
  const proxy = net.createServer((client) => {
    const server = net.connect(port, '127.0.0.1');
    let left = cut.bytes;
    const pass = (from: net.Socket, to: net.Socket, counts: boolean): void => {
      from.on('error', () => {}).on('close', () => to.destroy());
      from.on('data', (chunk: Buffer) => {
        to.write(counts ? chunk.subarray(0, left) : chunk);
        if (!counts) return;
        left -= chunk.byteLength;
        if (left > 0) return;
        if (cut.how === 'reset') server.resetAndDestroy();
        else server.destroy();
      });
    };
    pass(client, server, cut.after === 'client');
    pass(server, client, cut.after === 'server');
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  return { port: (proxy.address() as AddressInfo).port, close: () => void proxy.close() };
}

/** A download, or an upload with trailers; ends when its connection does. */
async function ask(kind: 'http' | 'https' | 'h2c' | 'h2', port: number, what: 'GET' | 'PUT'): Promise<void> {
  const url = `${kind === 'http' || kind === 'h2c' ? 'http' : 'https'}://127.0.0.1:${port}`;
  const body = Buffer.alloc(300_000, 'x');
  if (kind === 'h2' || kind === 'h2c') {
    const session = http2.connect(url, { rejectUnauthorized: false });
    const closed = new Promise((resolve) => session.on('close', resolve));
    session.on('error', () => {});
    const stream = session.request(
      { ':method': what, ':path': what === 'GET' ? '/key' : '/other' },
      { waitForTrailers: true },
    );
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-checksum': 'abc' }));
    stream.on('error', () => {}).resume();
    stream.on('close', () => session.destroy());
    if (what === 'PUT') stream.end(body);
    await closed;
    return;
  }
  const agent = new (kind === 'http' ? http : https).Agent();
  const request = (kind === 'http' ? http : https).request(`${url}/${what === 'GET' ? 'key' : 'other'}`, {
    method: what,
    agent,
    rejectUnauthorized: false,
    headers: what === 'PUT' ? { trailer: 'x-checksum', 'transfer-encoding': 'chunked' } : {},
  });
  const closed = new Promise((resolve) => request.on('close', resolve));
  request.on('error', () => {}).on('response', (response) => response.on('error', () => {}).resume());
  if (what === 'PUT') {
    request.write(body);
    request.addTrailers({ 'x-checksum': 'abc' });
  }
  request.end();
  await closed;
  agent.destroy();
}

const cutOf = fc.record<Cut>({
  after: fc.constantFrom('client', 'server'),
  // The first bytes are preface, handshake and headers; then come bodies.
  bytes: fc.oneof(
    fc.integer({ min: 1, max: 600 }),
    fc.integer({ min: 600, max: 4000 }),
    fc.integer({ min: 1, max: SIZE }),
  ),
  how: fc.constantFrom('reset', 'close'),
});

// An uncaught exception would end this process, and with it the test.
test('clients that die at any byte cost their own response and nothing else', async (t) => {
  // Files, so that there are mappings and buffers to give back.
  const handler = createHandler({ store: await directoryStore(await temporaryDirectory(t)) });
  const plain = await openPort(t, handler);
  const secure = await openPort(t, handler, { secure: true });
  const put = () => fetch(`http://127.0.0.1:${plain.port}/key`, { method: 'PUT', body: Buffer.alloc(SIZE, 'y') });
  t.is((await put()).status, 200);
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('http', 'https', 'h2c', 'h2'),
      fc.constantFrom('GET', 'PUT'),
      cutOf,
      async (kind, what, cut) => {
        const { port } = kind === 'http' || kind === 'h2c' ? plain : secure;
        const proxy = await deadly(port, cut);
        await ask(kind, proxy.port, what);
        proxy.close();
      },
    ),
    { numRuns: 150 },
  );
  t.is((await put()).status, 200);
  t.is((await (await fetch(`http://127.0.0.1:${plain.port}/key`)).arrayBuffer()).byteLength, SIZE);
  await until('everything is given back', () => handler.stats().pooledBytes === 0 && handler.stats().mappedBytes === 0);
  await Promise.all([plain.server.close({ timeoutMs: 5000 }), secure.server.close({ timeoutMs: 5000 })]);
});

test('a client that is stopped in the middle of a download is cut off', async (t) => {
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
