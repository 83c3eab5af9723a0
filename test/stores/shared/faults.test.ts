import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import test from 'ava';
import { sharedStore } from '../../../src/stores/shared/store.js';
import { bodyOf, content, put, refusal, temporaryDirectory, until } from '../fixture.js';
import { foreignConnection, share } from './fixture.js';
import { SharingProcess } from './process.js';
import { readShared } from './read.js';

const KINDS = ['directory', 'segments'] as const;
const BLOCK = 64 * 1024;

/** Counts the open descriptors of this process. */
const descriptors = async (): Promise<number> => (await readdir('/proc/self/fd')).length;

for (const kind of KINDS) {
  test.serial(
    `${kind}: while the writer is stopped, uploads fail and reads go on; then uploads work again`,
    async (t) => {
      t.timeout(120_000);
      const { dir, writer, store } = await share(t, { kind });
      await put(store, 'key', content(5000));
      writer.child.kill('SIGSTOP');
      const body = bodyOf([content(300_000)]);
      const gone = refusal('ERR_HOTBLOB_WRITER_GONE');
      await Promise.all([
        t.throwsAsync(store.put('other', body), gone),
        t.throwsAsync(put(store, 'small', 'x'), gone),
        t.throwsAsync(store.delete('key'), gone),
        t.throwsAsync(sharedStore(dir, { kind }), gone),
        (async () => t.deepEqual(await readShared(store, 'key'), content(5000)))(),
      ]);
      t.true(body.destroyed);
      writer.child.kill('SIGCONT');
      await put(store, 'again', content(100));
      t.deepEqual(await readShared(store, 'again'), content(100));
      t.deepEqual(await writer.get('other'), undefined);
    },
  );

  test.serial(
    `${kind}: a process that is killed during an upload leaves nothing, and its space is free again`,
    async (t) => {
      const options = { kind, maxBytes: 32 * BLOCK } as const;
      const dir = await temporaryDirectory(t);
      const store = await sharedStore(dir, options);
      t.teardown(() => store.close());
      const reader = await SharingProcess.start(t, dir, options);
      await reader.begin('key', 20 * BLOCK);
      await reader.kill();
      await until(() => put(store, 'large', content(20 * BLOCK)).then(Boolean, () => false));
      t.is(await readShared(store, 'key'), undefined);
      if (kind === 'directory') await until(async () => (await readdir(join(dir, '.hotblob/uploads'))).length === 0);
    },
  );

  test.serial(`${kind}: a writer that has no more descriptors gets the uploads when it has some again`, async (t) => {
    const { writer, store } = await share(t, { kind }, 100);
    await put(store, 'first', 'x');
    const held = bodyOf([content(10)]);
    const holding = store.put('held', held); // uses the connection that is idle
    await until(() => held.readableDidRead);
    await writer.exhaust();
    const waiting = Array.from({ length: 4 }, (_, index) => put(store, `key-${index}`, content(1000, index)));
    for (let round = 0; round < 20; round++) await writer.stats();
    await writer.free();
    await Promise.all(waiting);
    held.push(null);
    await holding;
    for (let index = 0; index < 4; index++) t.deepEqual(await readShared(store, `key-${index}`), content(1000, index));
  });

  test.serial(`${kind}: uploads that are refused early leave no connection in the writer`, async (t) => {
    const options = { kind, maxBytes: 32 * BLOCK } as const;
    const dir = await temporaryDirectory(t);
    const store = await sharedStore(dir, options);
    t.teardown(() => store.close());
    const reader = await SharingProcess.start(t, dir, options);
    await reader.put('key', content(10));
    const before = await descriptors();
    for (let round = 0; round < 20; round++) {
      const refused = reader.put('large', Buffer.alloc(64 * BLOCK), { size: 64 * BLOCK });
      await t.throwsAsync(refused, refusal('ERR_HOTBLOB_TOO_LARGE'));
    }
    await until(async () => (await descriptors()) <= before + 2);
    t.true((await reader.put('key', content(20))).created === false);
  });

  test.serial(`${kind}: programs that send something else do not disturb the writer`, async (t) => {
    const dir = await temporaryDirectory(t);
    const store = await sharedStore(dir, { kind, maxBytes: 32 * BLOCK });
    t.teardown(() => store.close());
    const frame = (type: number, text: string): Buffer => {
      const header = Buffer.alloc(5);
      header[0] = type;
      header.writeUInt32LE(Buffer.byteLength(text), 1);
      return Buffer.concat([header, Buffer.from(text)]);
    };
    const upload = frame(1, '{"kind":"put","key":"foreign","size":10}');
    const sent = [
      Buffer.alloc(100_000, 0xff),
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      Buffer.of(1, 0xff, 0xff, 0xff, 0xff), // a message of 4 GiB
      ...['null', '[]', '{', '{"kind":"put","key":5}', '{"kind":"put","key":"k","size":-1}'].map((text) =>
        frame(1, text),
      ),
      frame(1, '{"kind":"delete"}'),
      ...['7', '[5]', '[null]', '"key"', '[{}]'].map((text) => frame(6, text)), // reads
      frame(9, 'null'),
      Buffer.concat([upload, Buffer.alloc(10), upload]),
      upload,
      Buffer.alloc(0),
    ];
    const sockets = await Promise.all(
      sent.map(async (bytes) => {
        const socket = await foreignConnection(t, dir);
        socket.resume();
        socket.end(bytes);
        return socket;
      }),
    );
    const silent = await foreignConnection(t, dir);
    await until(() => sockets.every((socket) => socket.readableEnded || socket.destroyed));
    t.false(silent.destroyed);
    const reader = await SharingProcess.start(t, dir, { kind, maxBytes: 32 * BLOCK });
    await reader.put('key', content(1000));
    t.deepEqual(await readShared(store, 'key'), content(1000));
    t.is(await readShared(store, 'foreign'), undefined);
  });

  test.serial(`${kind}: bodies of all sizes arrive, with known and unknown size`, async (t) => {
    const { writer, store } = await share(t, { kind });
    const metadata = { contentType: 'text/plain', headers: { 'x-artifact-note': 'n'.repeat(4000) } };
    for (const length of [0, 1, 65_535, 65_536, 65_537, 10 * 1024 * 1024]) {
      for (const size of [length, undefined]) {
        const key = `größe/${length}/鍵-${size ?? 'unbekannt'}-😀`;
        const bytes = content(length, length);
        const pieces = [bytes.subarray(0, 0), bytes.subarray(0, 7), bytes.subarray(7, 7), bytes.subarray(7)];
        await store.put(key, Readable.from(pieces), { size, metadata });
        t.true((await readShared(store, key))?.equals(bytes), key);
        const found = await writer.find(key);
        t.true(found !== undefined && Buffer.from(found.bytes, 'base64').equals(bytes), key);
        t.is(found?.contentType, 'text/plain');
      }
    }
    const odd = [Number.NaN, -1, 1.5, Number.POSITIVE_INFINITY];
    for (const size of odd) await t.throwsAsync(put(store, 'odd', 'x', { size }), { name: 'HotblobError' });
    t.is(await readShared(store, 'odd'), undefined);
  });

  test.serial(`${kind}: an upload that is aborted at any moment disturbs no other one`, async (t) => {
    const { store } = await share(t, { kind });
    const reason = new Error('aborted by the test');
    for (let round = 0; round < 60; round++) {
      const controller = new AbortController();
      const chunks = [content(1000, round), content(200_000, round)];
      async function* body() {
        for (const [index, chunk] of chunks.entries()) {
          if (round % 6 === index) controller.abort(reason);
          yield chunk;
        }
        if (round % 6 === 2) controller.abort(reason);
      }
      const upload = store.put(`key-${round}`, Readable.from(body()), { signal: controller.signal });
      // The other rounds abort while the writer stores the upload.
      for (let turn = 0; turn < round; turn++) await new Promise((resolve) => setImmediate(resolve));
      if (round % 6 > 2) controller.abort(reason);
      const isStored = await upload.then(
        () => true,
        (error: unknown) => {
          t.is(error, reason);
          return false;
        },
      );
      const [bytes] = await Promise.all([readShared(store, `key-${round}`), put(store, 'next', content(round))]);
      t.is(bytes !== undefined, isStored);
    }
  });

  test.serial(`${kind}: a store can be closed during an election`, async (t) => {
    const { writer, store } = await share(t, { kind });
    await writer.kill();
    const upload = put(store, 'key', 'x').catch((error: unknown) => error);
    await store.close();
    await upload;
    await t.throwsAsync(put(store, 'key', 'x'), refusal('ERR_HOTBLOB_CLOSED'));
  });

  test.serial(`${kind}: a process waits for its upload although nothing else keeps it alive`, async (t) => {
    const { dir, writer, store } = await share(t, { kind });
    await writer.kill();
    await until(() => store.isWriter);
    const other = await SharingProcess.start(t, dir, { kind });
    await Promise.all([store.close(), other.put('key', content(10))]);
    t.deepEqual(await other.get('key'), content(10));
  });
}

test.serial('directory: a process that is stopped delays the writer once', async (t) => {
  const { dir, writer } = await share(t, { kind: 'directory' });
  const stopped = await SharingProcess.start(t, dir, { kind: 'directory' });
  await writer.put('key', content(10));
  stopped.child.kill('SIGSTOP');
  const durations: number[] = [];
  for (let round = 0; round < 3; round++) {
    const start = performance.now();
    await Promise.all(Array.from({ length: 8 }, (_, index) => writer.put(`key-${index}`, content(round))));
    durations.push(performance.now() - start);
  }
  const [first = 0, ...others] = durations;
  t.true(first >= 900 && Math.max(...others) < first / 2, durations.join(', '));
  stopped.child.kill('SIGCONT');
  t.deepEqual(await stopped.get('key-1'), content(2));
});

test.serial('segments: a list during which the process becomes the writer says so', async (t) => {
  const { writer, store } = await share(t, { kind: 'segments' });
  for (let index = 0; index < 3; index++) await put(store, `key-${index}`, 'x');
  const list = store.list()[Symbol.asyncIterator]();
  await list.next();
  await writer.kill();
  await until(() => store.isWriter);
  const rest = (async () => {
    while (!(await list.next()).done);
  })();
  await t.throwsAsync(rest, refusal('ERR_HOTBLOB_WRITER_GONE', /list again/));
  let count = 0;
  for await (const _ of store.list()) count++;
  t.is(count, 3);
});
