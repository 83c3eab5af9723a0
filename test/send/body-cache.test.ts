import { renameSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { createHandler, type Handler } from '../../src/handler/handler.js';
import { fixedMemoryPressure } from '../../src/memory/pressure.js';
import { releaseFile } from '../../src/page-cache/release-file.js';
import { request } from '../helpers/client.js';
import { FakeExchange } from '../helpers/exchange.js';
import { assertAllBack, assertBytes, filesOf, openFileSite, responsesOf, WIRES } from '../helpers/file-site.js';
import { KIB, MIB, pattern, temporaryDirectory, writePattern } from '../helpers/files.js';
import { startPaused } from '../helpers/paused.js';
import { settled, until } from '../helpers/poll.js';
import { type Middleware, startServer } from '../helpers/servers.js';

for (const kind of WIRES) {
  test(`${kind}: a small immutable artifact is sent from memory from its second request on`, async (t) => {
    const site = await openFileSite(t, kind);
    for (const size of [1, 4 * KIB, 256 * KIB]) {
      const expected = writePattern(site.directory, `${size}`, size, 1);
      const before = site.sent().bytes ?? 0;
      for (let request = 0; request < 3; request++) assertBytes(t, (await site.get(`${size}`)).body, expected);
      t.is(site.sent().bytes, before + 2 * size, `${size} bytes`);
      const range = await site.get(`${size}`, { headers: { range: 'bytes=0-99' } });
      assertBytes(t, range.body, expected.subarray(0, 100));
    }
    await assertAllBack(t, site);
  });
}

test('larger, mutable and empty artifacts are not kept in memory', async (t) => {
  const site = await openFileSite(t, 'http', { artifact: (key) => ({ immutable: key !== 'mutable' }) });
  writePattern(site.directory, 'large', 256 * KIB + 1, 1);
  writePattern(site.directory, 'mutable', 4 * KIB, 1);
  writePattern(site.directory, 'empty', 0, 1);
  for (const key of ['large', 'mutable', 'empty']) {
    for (let request = 0; request < 3; request++) t.is((await site.get(key)).status, 200);
  }
  t.is(site.sent().bytes, undefined);
});

test('a replaced artifact is not sent from memory', async (t) => {
  const site = await openFileSite(t, 'http');
  const path = join(site.directory, 'file');
  for (let version = 1; version < 5; version++) {
    writePattern(site.directory, 'new', 4 * KIB, version);
    renameSync(join(site.directory, 'new'), path);
    await releaseFile(path);
    for (let request = 0; request < 3; request++) {
      assertBytes(t, (await site.get('file')).body, pattern(4 * KIB, version), `version ${version}`);
    }
    t.is(site.sent().bytes, version * 2 * 4 * KIB);
  }
});

test('a deleted artifact is not sent from memory, and its memory is free', async (t) => {
  const site = await openFileSite(t, 'http', { maxPooledBytes: MIB });
  const path = join(site.directory, 'file');
  writePattern(site.directory, 'file', 4 * KIB, 1);
  await site.get('file');
  const copied = site.handler.stats().idlePooledBytes;
  await site.get('file');
  t.is(site.handler.stats().idlePooledBytes, copied + 5 * KIB);
  unlinkSync(path);
  await releaseFile(path);
  t.is(site.handler.stats().idlePooledBytes, copied);
  t.is((await site.get('file')).status, 404);
});

test('artifacts in one file are kept by their position and their length', async (t) => {
  const site = await openFileSite(t, 'http', {
    artifact: (key) => {
      const [offset, length] = key.split('-').map(Number);
      return { path: join(site.directory, 'file'), offset, length };
    },
  });
  const bytes = writePattern(site.directory, 'file', 100 * KIB, 1);
  for (let request = 0; request < 3; request++) {
    for (const [offset, length] of [
      [0, 100],
      [0, 200],
      [100, 100],
      [50_000, 30_000],
    ] as const) {
      const { body } = await site.get(`${offset}-${length}`);
      assertBytes(t, body, bytes.subarray(offset, offset + length), `${length} bytes at ${offset}`);
    }
  }
  t.true((site.sent().bytes ?? 0) > 0);
});

/** Exchange whose connection copies what is written to it. */
class TlsExchange extends FakeExchange {
  override readonly plain = false;
}

test('over TLS, responses wait if the copies that TLS makes of bodies have reached the limit', async (t) => {
  const { handler } = await openHandler(t, 4 * KIB, MIB);
  const clients = Array.from({ length: 400 }, () => new TlsExchange('/file'));
  for (const client of clients) void handler.handle(client);
  await settled(() => handler.stats());
  const writing = clients.filter(({ isWriting }) => isWriting);
  t.true(writing.length >= 50, `${writing.length} responses are written`);
  t.true(writing.length * 4 * KIB <= MIB, `${writing.length} responses are written`);
  t.true(handler.stats().pooledBytes <= MIB);
  t.is(handler.stats().waitingForBuffers, clients.length - writing.length);
  for (const client of writing) client.leave();
  await until('the others are served', () => clients.some((client) => client.isWriting && !writing.includes(client)));
  for (const client of clients) client.leave();
  await until('nothing is on loan', () => handler.stats().pooledBytes === 0);
});

for (const [name, length, waiting] of [
  ['small', 4 * KIB, 50],
  ['large', 4 * MIB, 4],
] as const) {
  test(`over TLS, copies of ${name} artifacts of kind bytes count towards the limit`, async (t) => {
    const bytes = pattern(length, 1);
    const handler = createHandler({ store: { get: () => ({ kind: 'bytes', bytes }) }, maxPooledBytes: MIB });
    t.teardown(() => handler.close());
    const clients = Array.from({ length: 400 }, () => new TlsExchange('/file'));
    for (const client of clients) void handler.handle(client);
    await settled(() => handler.stats());
    const writing = clients.filter(({ isWriting }) => isWriting);
    t.true(writing.length >= waiting, `${writing.length} responses are written`);
    t.true(handler.stats().pooledBytes <= MIB);
    t.is(handler.stats().waitingForBuffers, clients.length - writing.length);
    for (const client of writing) client.leave();
    await until('the others are served', () => clients.some((client) => client.isWriting && !writing.includes(client)));
    for (const client of clients) client.leave();
    await until('nothing is on loan', () => handler.stats().pooledBytes === 0);
  });
}

test('artifacts of kind bytes arrive complete over TLS when all buffers are small', async (t) => {
  const bytes = pattern(3 * MIB, 1);
  const handler = createHandler({ store: { get: () => ({ kind: 'bytes', bytes }) }, maxPooledBytes: MIB });
  for (const kind of ['https', 'h2'] as const) {
    const server = await startServer(t, kind, handler);
    const responses = await Promise.all(Array.from({ length: 12 }, () => request(server, { path: '/file' })));
    for (const { body } of responses) assertBytes(t, body, bytes, kind);
    await until('nothing is on loan', () => handler.stats().pooledBytes === 0);
  }
});

test('over TLS, only the bytes of the range are counted', async (t) => {
  const { handler } = await openHandler(t, 256 * KIB, 64 * MIB);
  class RangeExchange extends TlsExchange {
    override readonly headers = { range: 'bytes=0-999' };
  }
  const client = new RangeExchange('/file');
  void handler.handle(client);
  await until('it is written', () => client.isWriting);
  t.is(handler.stats().pooledBytes, 257 * KIB + 1000, 'the body that is kept, and the copy');
  client.leave();
  await until('nothing is on loan', () => handler.stats().pooledBytes === 0);
});

/** Exchange whose write fails, as if middleware had replaced a method of the response. */
class FailingExchange extends FakeExchange {
  readonly #isSync: boolean;

  constructor(isSync: boolean) {
    super('/file');
    this.#isSync = isSync;
  }

  override write(): Promise<boolean> {
    const failure = new Error('the write failed');
    if (this.#isSync) throw failure;
    return Promise.reject(failure);
  }
}

for (const isSync of [true, false]) {
  for (const [source, length] of [
    ['from memory', 4 * KIB],
    ['from a buffer', 300 * KIB],
  ] as const) {
    test(`a write of an artifact ${source} that ${isSync ? 'throws' : 'rejects'} leaves nothing on loan`, async (t) => {
      const { handler } = await openHandler(t, length, 64 * MIB);
      await handler.handle(new FailingExchange(isSync));
      t.is(handler.stats().pooledBytes, 0);
      t.is(handler.stats().mappedBytes, 0);
    });
  }
}

/** Exchange of HTTP/2 whose session still reads the chunks of a reset stream until the test calls `releaseRetired`. */
class ResetExchange extends FakeExchange {
  override readonly multiplexed = true;
  releaseRetired = (): void => {};

  override retire(release: () => void): void {
    this.releaseRetired = release;
  }
}

for (const length of [4 * KIB, 256 * KIB]) {
  test(`a body of ${length} bytes is in use until nothing can read the chunks of a reset stream`, async (t) => {
    const { handler } = await openHandler(t, length, 64 * MIB);
    const exchange = new ResetExchange('/file');
    const handled = handler.handle(exchange);
    await until('it is written', () => exchange.isWriting);
    exchange.leave();
    await handled;
    t.is(handler.stats().pooledBytes, length + KIB);
    exchange.releaseRetired();
    t.is(handler.stats().pooledBytes, 0);
  });
}

for (const kind of WIRES) {
  test(`${kind}: nothing stays on loan after clients disconnect while a body is sent from memory`, async (t) => {
    const site = await openFileSite(t, kind);
    writePattern(site.directory, 'file', 256 * KIB, 1);
    for (let request = 0; request < 2; request++) await site.get('file');
    const downloads = await Promise.all(Array.from({ length: 20 }, () => startPaused(t, site.server, '/file')));
    for (const download of downloads) download.leave();
    await until('all responses have ended', () => responsesOf(site.handler) === 22);
    await assertAllBack(t, site);
  });
}

/** Middleware that replaces `write`, as compression does. */
function replaceWrite(...[, response, next]: Parameters<Middleware>): void {
  const write = response.write.bind(response) as (chunk: Uint8Array) => boolean;
  response.write = (chunk: Uint8Array) => write(chunk);
  next();
}

for (const kind of ['http', 'https', 'h2c-compat'] as const) {
  test(`${kind}: bodies are sent from memory through middleware that replaces \`write\``, async (t) => {
    const site = await openFileSite(t, kind, { server: { before: replaceWrite } });
    const expected = writePattern(site.directory, 'file', 100 * KIB, 1);
    for (let request = 0; request < 4; request++) assertBytes(t, (await site.get('file')).body, expected);
    t.is(site.sent().bytes, 300 * KIB);
    await assertAllBack(t, site);
  });
}

/** Opens a handler for one file, which it keeps in memory if it is small enough. */
async function openHandler(t: ExecutionContext, length: number, maxPooledBytes: number): Promise<{ handler: Handler }> {
  const directory = await temporaryDirectory(t);
  writePattern(directory, 'file', length, 1);
  const memory = fixedMemoryPressure('normal');
  const handler = createHandler({ store: filesOf(directory), map: 'never', maxPooledBytes, memory });
  t.teardown(() => handler.close());
  for (let use = 0; use < 2; use++) {
    const exchange = new FakeExchange('/file');
    const handled = handler.handle(exchange);
    let isHandled = false;
    void handled.then(() => {
      isHandled = true;
    });
    await until('the response has ended', () => {
      exchange.sent();
      return isHandled;
    });
  }
  return { handler };
}
