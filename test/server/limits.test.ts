import { once } from 'node:events';
import http, { type OutgoingHttpHeaders } from 'node:http';
import test from 'ava';
import { HotblobError } from '../../src/contract/errors.js';
import type { MemoryPressureLevel } from '../../src/memory/pressure.js';
import { DEFAULT_LIMITS, type ServerOptions, serverSettingsOf } from '../../src/server/options.js';
import { createServer } from '../../src/server/server.js';
import { until } from '../helpers/poll.js';
import { openPort, untilClosed } from './fixture.js';

const KIB = 1024;
const MIB = 1024 * KIB;

const INVALID: [object, RegExp][] = [
  [{ port: 1 }, /^unknown option 'port'; expected one of .*\bmaxStreams\b/],
  [{ tls: 'cert' }, /^tls: expected an object, received 'cert'$/],
  [{ handler: {} }, /^handler: expected the result of createHandler\(\), received \{\}$/],
  [{ memory: {} }, /^memory: expected an object with level and headroomBytes/],
  [{ maxStreams: 0 }, /^maxStreams: expected a whole number, 1 or more, received 0$/],
  [{ pingIntervalMs: 0 }, /^pingIntervalMs: expected a whole number of milliseconds from 1 to 2147483647, received 0$/],
  [{ maxAgeMs: 2 ** 31 }, /^maxAgeMs: /],
  [{ graceMs: '30s' }, /^graceMs: .*received '30s'$/],
  [{ streamWindowBytes: 1000 }, /^streamWindowBytes: expected a whole number of bytes from 65535 to 2147483647,/],
  [{ sessionWindowBytes: MIB }, /^sessionWindowBytes: expected at least streamWindowBytes, received 1048576$/],
  [{ processes: 1.5 }, /^processes: /],
];

test('createServer throws for an unknown option, an invalid value and an invalid listener', (t) => {
  for (const [options, message] of INVALID) {
    const error = t.throws(() => createServer(() => {}, options as ServerOptions), {
      instanceOf: HotblobError,
      message,
    });
    t.is(error?.code, 'ERR_HOTBLOB_INVALID_OPTION');
  }
  for (const listener of [undefined, null, {}, 'listener']) {
    t.throws(() => createServer(listener as never), { message: /^listener: expected a function/ });
  }
});

test('an undefined option counts as absent, and the options object is not modified', (t) => {
  const options = Object.freeze({ maxStreams: undefined, graceMs: 5, tls: undefined });
  t.deepEqual(serverSettingsOf(options).limits, { ...DEFAULT_LIMITS, graceMs: 5 });
});

const echo: http.RequestListener = (request, response) => {
  response.end(request.httpVersion);
};

/** Returns `count - added` headers with values of `bytes` bytes; `added` is the number that the client adds itself. */
function headersOf(count: number, bytes: number, added: number): OutgoingHttpHeaders {
  return Object.fromEntries(Array.from({ length: count - added }, (_, index) => [`x-${index}`, 'y'.repeat(bytes)]));
}

test('accepts up to 100 headers and 16 KiB of headers over both HTTP versions', async (t) => {
  const { port, session } = await openPort(t, echo);
  const get1 = async (headers: OutgoingHttpHeaders): Promise<http.IncomingMessage> => {
    const request = http.get({ port, host: '127.0.0.1', headers, agent: false });
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    return response;
  };
  t.is((await get1(headersOf(100, 10, 2))).statusCode, 200);
  const refused = await get1(headersOf(101, 10, 2));
  t.is(refused.statusCode, 431);
  t.is(refused.headers.connection, 'close');
  t.deepEqual(JSON.parse((await refused.toArray()).join('')), { message: 'The request headers are too large.' });
  t.is((await get1(headersOf(5, 3 * KIB, 2))).statusCode, 200);
  t.is((await get1(headersOf(9, 3 * KIB, 2))).statusCode, 431);

  const client = await session();
  const get2 = async (headers: OutgoingHttpHeaders): Promise<string> => {
    const stream = client.request({ ':path': '/', ...headers });
    stream.on('error', () => {});
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    await new Promise((resolve) => stream.on('close', resolve));
    return chunks.join('');
  };
  t.is(await get2(headersOf(100, 10, 0)), '2.0');
  t.is(await get2(headersOf(101, 10, 0)), '');
  t.is(await get2(headersOf(5, 3 * KIB, 0)), '2.0');
  t.is(await get2(headersOf(9, 3 * KIB, 0)), '');
  t.is(await get2({}), '2.0');
});

test('a session announces 128 streams, frames and headers of 16 KiB, and windows of 4 MiB', async (t) => {
  const { session } = await openPort(t, echo);
  const client = await session();
  t.like(client.remoteSettings, {
    maxConcurrentStreams: 128,
    maxFrameSize: 16 * KIB,
    maxHeaderListSize: 16 * KIB,
    initialWindowSize: 4 * MIB,
  });
});

test('receive windows of open sessions follow the memory pressure and are shared by uploads', async (t) => {
  const memory = { level: 'normal' as MemoryPressureLevel, headroomBytes: 512 * MIB };
  // The shortest time limit determines the check interval.
  const { session } = await openPort(t, () => {}, { memory, pingIntervalMs: 100 });
  const client = await session();
  const window = () => client.remoteSettings.initialWindowSize;
  t.is(window(), 4 * MIB);
  for (const [level, bytes] of [
    ['constrained', 2 * MIB],
    ['critical', 65_535],
    ['normal', 4 * MIB],
  ] as const) {
    memory.level = level;
    await until(`${level}: ${bytes}`, () => window() === bytes);
  }
  const uploads = Array.from({ length: 16 }, () => {
    const upload = client.request({ ':path': '/', ':method': 'PUT' }, { endStream: false });
    upload.on('error', () => {}).resume();
    return upload;
  });
  await until('sixteen uploads share 16 MiB', () => window() === MIB);
  for (const upload of uploads) upload.close();
  await until('no uploads are left', () => window() === 4 * MIB);
  const other = await session();
  for (let count = 0; count < 128; count++) {
    other.request({ ':path': '/', ':method': 'PUT' }, { endStream: false }).on('error', () => {});
  }
  memory.headroomBytes = 128 * MIB;
  client.request({ ':path': '/', ':method': 'PUT' }, { endStream: false }).on('error', () => {});
  await until('the uploads of both sessions share the headroom', () => (window() ?? MIB) < MIB);
  other.destroy();
  await until('uploads of the destroyed session are not counted', () => window() === 4 * MIB);
  memory.headroomBytes = MIB;
  await until('one upload gets all of the headroom', () => window() === MIB);
});

test('answers an HTTP/1.1 request without a single valid Host field with 400', async (t) => {
  const { connect } = await openPort(t, echo);
  const ask = async (...hosts: string[]): Promise<string> => {
    const socket = await connect();
    const fields = hosts.map((host) => `Host: ${host}\r\n`).join('');
    socket.write(`GET / HTTP/1.1\r\n${fields}Connection: close\r\n\r\n`);
    return (await untilClosed(socket)).slice(0, 'HTTP/1.1 200'.length);
  };
  for (const host of ['a', '', 'a.example:80', 'a_b', '127.0.0.1:', '[::1]:8080', 'x%20y']) {
    t.is(await ask(host), 'HTTP/1.1 200', host);
  }
  for (const hosts of [
    [],
    ['a', 'a'],
    ['a', 'b'],
    ['a b'],
    ['a/b'],
    ['a@b'],
    ['a:b'],
    ['http://a'],
    ['[::1'],
    ['a"b'],
  ]) {
    t.is(await ask(...hosts), 'HTTP/1.1 400', hosts.join());
  }
});
