import net from 'node:net';
import { join } from 'node:path';
import tls from 'node:tls';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import test, { type ExecutionContext } from 'ava';
import { createHandler, type Handler } from '../../src/handler/handler.js';
import type { MemoryPressureLevel } from '../../src/memory/level.js';
import { fixedMemoryPressure } from '../../src/memory/pressure.js';
import { FakeExchange } from '../helpers/exchange.js';
import { assertAllBack, assertBytes, filesOf, openFileSite, responsesOf, WIRES } from '../helpers/file-site.js';
import { MIB, temporaryDirectory, writePattern } from '../helpers/files.js';
import { Frames } from '../helpers/frames.js';
import { evict } from '../helpers/page-cache.js';
import { startPaused } from '../helpers/paused.js';
import { settled, until } from '../helpers/poll.js';
import { randomNumbers } from '../helpers/random.js';
import { withSources } from '../helpers/sources.js';

const SOURCES = [undefined, 'mapped', 'copied', 'read'] as const;

const turnOfLoop = () => new Promise((resolve) => setImmediate(resolve));

for (const kind of WIRES) {
  for (const only of SOURCES) {
    test(`${kind}, ${only ?? 'every source'}: clients that reset at some moment or other leave nothing behind`, async (t) => {
      const site = await openFileSite(t, kind, { only });
      const path = join(site.directory, 'file');
      const expected = writePattern(site.directory, 'file', 12 * MIB, 1);
      const random = randomNumbers(WIRES.indexOf(kind) * 4 + SOURCES.indexOf(only));
      const leavers = Array.from({ length: 12 }, async (_, index) => {
        const bytes = random() * 12 * MIB;
        const download = await startPaused(t, site.server, '/file');
        if (index === 5 && only === undefined) evict(path, 8 * MIB, 12 * MIB);
        await download.leaveAfter(bytes);
      });
      await Promise.all(leavers);
      await until('all responses are over', () => responsesOf(site.handler) >= 12);
      assertBytes(t, (await site.get('file')).body, expected);
      await assertAllBack(t, site);
    });
  }

  test(`${kind}: clients that stall and then leave, one way or the other, leave nothing behind`, async (t) => {
    const site = await openFileSite(t, kind);
    writePattern(site.directory, 'file', 16 * MIB, 1);
    const downloads = await Promise.all(Array.from({ length: 6 }, () => startPaused(t, site.server, '/file')));
    await settled(() => site.handler.stats());
    t.true(site.handler.stats().mappedBytes + site.handler.stats().pooledBytes > 0);
    for (const [index, download] of downloads.entries()) {
      if (index % 2 === 0) download.leave();
      else download.end();
    }
    await until('all responses are over', () => responsesOf(site.handler) === 6);
    await assertAllBack(t, site);
  });
}

for (const kind of ['http', 'https'] as const) {
  test(`${kind}: a client that half-closes after its request receives the artifact or its beginning`, async (t) => {
    const site = await openFileSite(t, kind);
    const expected = writePattern(site.directory, 'file', 8 * MIB, 1);
    const { tls: isSecure, port, certificate } = site.server;
    const address = { host: '127.0.0.1', port };
    const socket = isSecure ? tls.connect({ ...address, ca: certificate?.cert }) : net.connect(address);
    const chunks: Buffer[] = [];
    socket.on('error', () => {}).on('data', (chunk: Buffer) => chunks.push(chunk));
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.end('GET /file HTTP/1.1\r\nhost: localhost\r\n\r\n');
    await closed;
    const received = Buffer.concat(chunks);
    // Node ends the socket when the client does (httpAllowHalfOpen is false): the response may end anywhere, even before
    // its headers.
    const [head = '', ...rest] = received.toString('latin1').split('\r\n\r\n');
    t.true('HTTP/1.1 200 OK\r\n'.startsWith(head.slice(0, 17)), head);
    const body = Buffer.from(rest.join('\r\n\r\n'), 'latin1');
    assertBytes(t, body, expected.subarray(0, body.byteLength));
    await until('the response is over', () => responsesOf(site.handler) === 1);
    await assertAllBack(t, site);
  });
}

for (const only of SOURCES) {
  test(`h2c, ${only ?? 'every source'}: streams that are reset one by one leave nothing behind, their session goes on`, async (t) => {
    const site = await openFileSite(t, 'h2c', { only });
    const expected = writePattern(site.directory, 'file', MIB, 1);
    const client = await Frames.connect(t, site.server, { windowSize: 40_000 });
    const ids = Array.from({ length: 60 }, (_, index) => 2 * index + 1);
    for (const id of ids) client.get(id, '/file');
    await until('all have begun', () => ids.every((id) => client.stream(id).bytes === 40_000));
    for (const id of ids) client.reset(id);
    await until('all responses are over', () => responsesOf(site.handler) === 60);
    // The session lives: its PINGs are answered, and what the streams left behind is free.
    await until('nothing is lent', () => {
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

/** A handler whose whole pool of 1 MiB is lent to clients that do not read. */
async function exhausted(t: ExecutionContext): Promise<{ handler: Handler; holders: FakeExchange[] }> {
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
    await until('it is being sent', () => holder.isWriting);
    holders.push(holder);
  }
  return { handler, holders };
}

/** Lets one that holds a buffer, and has sent headers, wait for its next one: somebody else gets what it gives back. */
async function makeWait(handler: Handler, holder: FakeExchange): Promise<FakeExchange> {
  const successor = new FakeExchange('/file');
  void handler.handle(successor);
  await turnOfLoop();
  holder.sent();
  await until('its buffer goes to who has waited', () => successor.isWriting);
  await turnOfLoop();
  return successor;
}

for (const hasBegun of [false, true]) {
  test(`a client that leaves while its response waits, ${hasBegun ? 'after' : 'before'} its headers, takes nothing with it`, async (t) => {
    const { handler, holders } = await exhausted(t);
    let leaver = new FakeExchange('/file');
    if (hasBegun) {
      leaver = holders.pop() ?? leaver;
      holders.push(await makeWait(handler, leaver));
    } else {
      void handler.handle(leaver);
      await turnOfLoop();
    }
    t.is(leaver.headersSent, hasBegun);
    t.false(leaver.isWriting, 'it waits');
    t.is(responsesOf(handler), 0);
    leaver.leave();
    await turnOfLoop();
    t.is(responsesOf(handler), 1, 'its response is over, though nobody has given back a buffer');
    const next = new FakeExchange('/file');
    void handler.handle(next);
    for (const holder of holders) holder.leave();
    await until('the next one is served', () => next.isWriting);
    next.leave();
    await until('nothing is lent', () => handler.stats().pooledBytes === 0);
    t.is(responsesOf(handler), holders.length + 2);
  });
}

test('a response that has begun waits for a buffer longer than a request may', async (t) => {
  const { handler, holders } = await exhausted(t);
  const patient = holders.pop() ?? new FakeExchange('/file');
  holders.push(await makeWait(handler, patient));
  const refused = new FakeExchange('/file');
  void handler.handle(refused);
  await until('the one that has come later is refused', () => refused.headersSent, 60_000);
  t.is(refused.status, 503);
  t.is(responsesOf(handler), 1);
  for (const holder of holders) holder.leave();
  await until('the other one goes on', () => patient.isWriting);
  patient.leave();
  await until('nothing is lent', () => handler.stats().pooledBytes === 0);
});

test.serial('idle buffers are kept for those who come next, but given up when memory is critical', async (t) => {
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  const buffers = (): number => {
    collect();
    return process.memoryUsage().arrayBuffers;
  };
  const directory = await temporaryDirectory(t);
  writePattern(directory, 'file', MIB, 1);
  const memory: { level: MemoryPressureLevel; headroomBytes: number } = { level: 'normal', headroomBytes: 64 * MIB };
  const handler = createHandler(
    withSources({ store: filesOf(directory), only: 'copied', maxPooledBytes: 64 * MIB, memory }),
  );
  t.teardown(() => handler.close());
  /** As many clients at once, that then leave. Returns what has been lent to them. */
  const serve = async (count: number): Promise<number> => {
    const clients = Array.from({ length: count }, () => new FakeExchange('/file'));
    for (const client of clients) void handler.handle(client);
    await until('all are being sent', () => clients.every(({ isWriting }) => isWriting));
    const { pooledBytes } = handler.stats();
    for (const client of clients) client.leave();
    await until('nothing is lent', () => handler.stats().pooledBytes === 0);
    return pooledBytes;
  };
  await serve(1);
  const before = buffers();
  const lent = await serve(100);
  t.true(lent >= 16 * MIB, `${lent} bytes have been lent`);
  t.true(buffers() - before > lent / 2, 'they are kept');
  memory.level = 'critical';
  await serve(1);
  await until('they are gone', () => buffers() - before < 2 * MIB);
  t.true(buffers() - before < 2 * MIB);
});
