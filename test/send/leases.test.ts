import net from 'node:net';
import { join } from 'node:path';
import tls from 'node:tls';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import test, { type ExecutionContext } from 'ava';
import { createHandler, type Handler } from '../../src/handler/handler.js';
import type { MemoryPressureLevel } from '../../src/memory/level.js';
import { fixedMemoryPressure } from '../../src/memory/pressure.js';
import { Connection } from '../../src/send/connection.js';
import { Leases } from '../../src/send/leases.js';
import { FakeExchange } from '../helpers/exchange.js';
import { fakeInterval } from '../helpers/fake-interval.js';
import { assertAllBack, assertBytes, filesOf, openFileSite, responsesOf, WIRES } from '../helpers/file-site.js';
import { KIB, MIB, temporaryDirectory, writePattern } from '../helpers/files.js';
import { Frames } from '../helpers/frames.js';
import { evict } from '../helpers/page-cache.js';
import { startPaused } from '../helpers/paused.js';
import { settled, until } from '../helpers/poll.js';
import { randomNumbers } from '../helpers/random.js';
import { withSources } from '../helpers/sources.js';

const SOURCES = [undefined, 'mapped', 'copied', 'read'] as const;

const nextIteration = () => new Promise((resolve) => setImmediate(resolve));

for (const kind of WIRES) {
  for (const only of SOURCES) {
    test(`${kind}, ${only ?? 'every source'}: nothing stays on loan after clients reset at random positions`, async (t) => {
      const site = await openFileSite(t, kind, { only });
      const path = join(site.directory, 'file');
      const expected = writePattern(site.directory, 'file', 12 * MIB, 1);
      const random = randomNumbers(WIRES.indexOf(kind) * 4 + SOURCES.indexOf(only));
      const downloads = Array.from({ length: 12 }, async (_, index) => {
        const bytes = random() * 12 * MIB;
        const download = await startPaused(t, site.server, '/file');
        if (index === 5 && only === undefined) evict(path, 8 * MIB, 12 * MIB);
        await download.leaveAfter(bytes);
      });
      await Promise.all(downloads);
      await until('all responses have ended', () => responsesOf(site.handler) >= 12);
      assertBytes(t, (await site.get('file')).body, expected);
      await assertAllBack(t, site);
    });
  }

  test(`${kind}: nothing stays on loan after stalled clients reset or close`, async (t) => {
    const site = await openFileSite(t, kind);
    writePattern(site.directory, 'file', 16 * MIB, 1);
    const downloads = await Promise.all(Array.from({ length: 6 }, () => startPaused(t, site.server, '/file')));
    await settled(() => site.handler.stats());
    t.true(site.handler.stats().mappedBytes + site.handler.stats().pooledBytes > 0);
    for (const [index, download] of downloads.entries()) {
      if (index % 2 === 0) download.leave();
      else download.end();
    }
    await until('all responses have ended', () => responsesOf(site.handler) === 6);
    await assertAllBack(t, site);
  });
}

for (const kind of ['http', 'https'] as const) {
  test(`${kind}: a client that half-closes during a download receives a beginning of the artifact`, async (t) => {
    const site = await openFileSite(t, kind);
    const expected = writePattern(site.directory, 'file', 64 * MIB, 1);
    const { tls: isSecure, port, certificate } = site.server;
    const address = { host: '127.0.0.1', port };
    const socket = isSecure ? tls.connect({ ...address, ca: certificate?.cert }) : net.connect(address);
    const chunks: Buffer[] = [];
    const closed = new Promise((resolve) => socket.once('close', resolve));
    // Node ends the socket when the client does (httpAllowHalfOpen is false), after what has been written to it.
    socket
      .on('error', () => {})
      .on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        if (chunk.byteLength > 1000) socket.end();
      });
    socket.write('GET /file HTTP/1.1\r\nhost: localhost\r\n\r\n');
    await closed;
    const received = Buffer.concat(chunks);
    const headEnd = received.indexOf('\r\n\r\n');
    t.regex(received.toString('latin1', 0, headEnd), /^HTTP\/1\.1 200 OK\r\n/);
    const body = received.subarray(headEnd + 4);
    t.true(body.byteLength > 0);
    assertBytes(t, body, expected.subarray(0, body.byteLength));
    await until('the response has ended', () => responsesOf(site.handler) === 1);
    await assertAllBack(t, site);
  });
}

for (const only of SOURCES) {
  test(`h2c, ${only ?? 'every source'}: nothing stays on loan after streams are reset, and their session goes on`, async (t) => {
    const site = await openFileSite(t, 'h2c', { only });
    const expected = writePattern(site.directory, 'file', MIB, 1);
    const client = await Frames.connect(t, site.server, { windowSize: 40_000 });
    const ids = Array.from({ length: 60 }, (_, index) => 2 * index + 1);
    for (const id of ids) client.get(id, '/file');
    await until('all have started', () => ids.every((id) => client.stream(id).bytes === 40_000));
    for (const id of ids) client.reset(id);
    await until('all responses have ended', () => responsesOf(site.handler) === 60);
    // SessionFence uses PINGs to learn when the bytes of the reset streams have left. That requires an open session.
    await until('nothing is on loan', () => {
      const { mappedBytes, pooledBytes } = site.handler.stats();
      return mappedBytes === 0 && pooledBytes === 0;
    });
    client.setInitialWindow(2 * MIB);
    client.get(121, '/file');
    await until('the session goes on', () => client.stream(121).isEnded);
    assertBytes(t, client.stream(121).body, expected);
    await assertAllBack(t, site);
  });
}

/** Creates a handler whose pool of 1 MiB is on loan to clients that do not read. */
async function startExhausted(t: ExecutionContext): Promise<{ handler: Handler; holders: FakeExchange[] }> {
  const directory = await temporaryDirectory(t);
  writePattern(directory, 'file', 8 * MIB, 1);
  const memory = fixedMemoryPressure('normal');
  const handler = createHandler(
    withSources({ store: filesOf(directory), only: 'copied', maxPooledBytes: MIB, memory }),
  );
  t.teardown(() => handler.close());
  const holders: FakeExchange[] = [];
  while (handler.stats().pooledBytes < MIB) {
    const holder = new FakeExchange('/file');
    void handler.handle(holder);
    await until('its first window is written', () => holder.isWriting);
    holders.push(holder);
  }
  return { handler, holders };
}

/** Makes a response that has a buffer wait for its next one: a new request waits first and gets the released buffer. */
async function makeWait(handler: Handler, holder: FakeExchange): Promise<FakeExchange> {
  const successor = new FakeExchange('/file');
  void handler.handle(successor);
  await nextIteration();
  holder.sent();
  await until('the new request gets the buffer', () => successor.isWriting);
  await nextIteration();
  return successor;
}

for (const hasStarted of [false, true]) {
  test(`a client that disconnects while its response waits for a buffer, ${hasStarted ? 'after' : 'before'} the headers, takes no buffer`, async (t) => {
    const { handler, holders } = await startExhausted(t);
    let waiting = new FakeExchange('/file');
    if (hasStarted) {
      waiting = holders.pop() ?? waiting;
      holders.push(await makeWait(handler, waiting));
    } else {
      void handler.handle(waiting);
      await nextIteration();
    }
    t.is(waiting.headersSent, hasStarted);
    t.false(waiting.isWriting);
    t.is(responsesOf(handler), 0);
    waiting.leave();
    await nextIteration();
    t.is(responsesOf(handler), 1, 'its response ends before any buffer is released');
    const next = new FakeExchange('/file');
    void handler.handle(next);
    for (const holder of holders) holder.leave();
    await until('the next request is served', () => next.isWriting);
    next.leave();
    await until('nothing is on loan', () => handler.stats().pooledBytes === 0);
    t.is(responsesOf(handler), holders.length + 2);
  });
}

test('a response waits for its next buffer longer than a request waits for its first one', async (t) => {
  const { handler, holders } = await startExhausted(t);
  const patient = holders.pop() ?? new FakeExchange('/file');
  holders.push(await makeWait(handler, patient));
  const refused = new FakeExchange('/file');
  void handler.handle(refused);
  await until('the later request is refused', () => refused.headersSent, 60_000);
  t.is(refused.status, 503);
  t.is(responsesOf(handler), 1);
  for (const holder of holders) holder.leave();
  await until('the response continues', () => patient.isWriting);
  patient.leave();
  await until('nothing is on loan', () => handler.stats().pooledBytes === 0);
});

interface IdleSite {
  readonly handler: Handler;
  /** Memory pressure that the handler sees. */
  readonly memory: { level: MemoryPressureLevel; readonly headroomBytes: number };
  /** Serves `count` clients at the same time, which then disconnect. Returns the bytes that were on loan to them. */
  serve(count: number): Promise<number>;
}

/** Creates a handler that copies all files into pooled buffers. */
async function startIdleSite(t: ExecutionContext): Promise<IdleSite> {
  const directory = await temporaryDirectory(t);
  writePattern(directory, 'file', MIB, 1);
  const memory: IdleSite['memory'] = { level: 'normal', headroomBytes: 64 * MIB };
  const handler = createHandler(
    withSources({ store: filesOf(directory), only: 'copied', maxPooledBytes: 64 * MIB, memory }),
  );
  t.teardown(() => handler.close());
  return {
    handler,
    memory,
    async serve(count) {
      const clients = Array.from({ length: count }, () => new FakeExchange('/file'));
      for (const client of clients) void handler.handle(client);
      await until('all responses are written', () => clients.every(({ isWriting }) => isWriting));
      const { pooledBytes } = handler.stats();
      for (const client of clients) client.leave();
      await until('nothing is on loan', () => handler.stats().pooledBytes === 0);
      return pooledBytes;
    },
  };
}

test.serial(
  'an idle server keeps its buffers for reuse, and frees them when memory pressure becomes critical',
  async (t) => {
    setFlagsFromString('--expose-gc');
    const collect: () => void = runInNewContext('gc');
    const buffers = (): number => {
      collect();
      return process.memoryUsage().arrayBuffers;
    };
    const { handler, memory, serve } = await startIdleSite(t);
    await serve(1);
    const before = buffers();
    const lent = await serve(100);
    t.true(lent >= 16 * MIB, `${lent} bytes were on loan`);
    t.true(buffers() - before > lent / 2, 'the buffers are kept');
    memory.level = 'critical';
    // No request follows: a timer of the handler notices the pressure.
    await until('the handler frees the idle buffers', () => handler.stats().idlePooledBytes <= MIB);
    await until('their memory is free', () => buffers() - before < 2 * MIB);
    t.pass();
  },
);

test('while memory pressure is critical, released buffers are freed at once', async (t) => {
  const { handler, memory, serve } = await startIdleSite(t);
  memory.level = 'critical';
  const lent = await serve(100);
  t.true(lent >= 16 * MIB, `${lent} bytes were on loan`);
  t.true(handler.stats().idlePooledBytes <= MIB);
});

/** Acquires `count` buffers of 256 KiB, for one connection each, and releases them. */
function useBuffers(leases: Leases, count: number): void {
  const loans = Array.from({ length: count }, () => {
    const connection = new Connection(false);
    return { connection, buffer: leases.acquireBuffer(connection, 256 * KIB) };
  });
  for (const { connection, buffer } of loans) {
    if (buffer !== undefined) leases.releaseBuffer(connection, buffer, true);
  }
}

// These tests are not async, so that the fake timer affects no other code.
test.serial('idle buffers are freed within a second of critical memory pressure, and then no timer runs', (t) => {
  const { isRunning, advance } = fakeInterval(t);
  const memory: { level: MemoryPressureLevel; headroomBytes: number } = {
    level: 'constrained',
    headroomBytes: 64 * MIB,
  };
  const leases = new Leases(64 * MIB, memory);
  useBuffers(leases, 8);
  advance(1000);
  t.is(leases.stats().idlePooledBytes, 2 * MIB);
  memory.level = 'critical';
  advance(1000);
  t.is(leases.stats().idlePooledBytes, 0);
  t.false(isRunning());
});

test.serial('idle buffers are freed after 30 s without use, and then no timer runs', (t) => {
  const { isRunning, advance } = fakeInterval(t);
  const leases = new Leases(64 * MIB, fixedMemoryPressure('normal'));
  const idleBytes = () => leases.stats().idlePooledBytes;
  useBuffers(leases, 4);
  t.is(idleBytes(), MIB);
  t.false(isRunning(), 'no timer runs for up to 1 MiB');
  useBuffers(leases, 8);
  t.true(isRunning());
  advance(29_000);
  t.is(idleBytes(), 2 * MIB);
  useBuffers(leases, 6);
  advance(1000);
  t.is(idleBytes(), 1.5 * MIB, 'the two buffers that were not used are freed');
  advance(28_000);
  t.is(idleBytes(), 1.5 * MIB);
  t.true(isRunning());
  advance(1000);
  t.is(idleBytes(), 0);
  t.false(isRunning());
});
