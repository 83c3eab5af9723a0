import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import test from 'ava';
import { type SharedStore, sharedStore } from '../../../src/stores/shared/store.js';
import { bodyOf, content, put, refusal, temporaryDirectory, until } from '../fixture.js';
import { share } from './fixture.js';
import { SharingProcess } from './process.js';
import { readShared } from './read.js';

// The tests that need a new writer within ten seconds are serial: starting many processes at once delays it.
const KINDS = ['directory', 'segments'] as const;
const BLOCK = 64 * 1024;

/** Returns the number of artifacts that a store lists. */
async function countOf(store: SharedStore): Promise<number> {
  let count = 0;
  for await (const _ of store.list()) count++;
  return count;
}

/** Splits bytes into pieces of at most 1000 bytes. */
function inThousands(bytes: Buffer): Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / 1000) }, (_, index) =>
    bytes.subarray(index * 1000, index * 1000 + 1000),
  );
}

for (const kind of KINDS) {
  test(`${kind}: an artifact can be read in every process as soon as its upload was acknowledged in any`, async (t) => {
    const { dir, writer, store } = await share(t, { kind });
    const third = await SharingProcess.start(t, dir, { kind });
    for (let round = 0; round < 20; round++) {
      const bytes = content(1000 + round, round);
      const sources = [
        () => put(store, 'key', bytes, { metadata: { contentType: `text/x-${round}` } }),
        () => third.put('key', bytes, { metadata: { contentType: `text/x-${round}` } }),
        () => writer.put('key', bytes, { metadata: { contentType: `text/x-${round}` } }),
      ];
      await sources[round % 3]?.();
      for (const process of [writer, third]) {
        const found = await process.find('key');
        t.deepEqual(found && Buffer.from(found.bytes, 'base64'), bytes);
        t.is(found?.contentType, `text/x-${round}`);
      }
      t.is((await store.get('key'))?.contentType, `text/x-${round}`);
    }
    t.true(await store.delete('key'));
    t.is(await writer.get('key'), undefined);
    t.is(await third.get('key'), undefined);
    t.false(await third.delete('key'));
  });

  test(`${kind}: a process that reads all the time finds an artifact as soon as its upload was acknowledged`, async (t) => {
    const { store } = await share(t, { kind });
    let isFinished = false;
    const reading = (async () => {
      while (!isFinished) {
        await store.get('none');
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    for (let round = 0; round < 100; round++) {
      await put(store, `key-${round}`, content(10));
      t.deepEqual(await readShared(store, `key-${round}`), content(10));
    }
    isFinished = true;
    await reading;
  });

  test.serial(
    `${kind}: when the writer is killed, another process becomes the writer, and uploads wait for it`,
    async (t) => {
      const { dir, writer, store } = await share(t, { kind });
      const third = await SharingProcess.start(t, dir, { kind });
      await third.put('before', content(5000));
      await writer.kill();
      const [created] = await Promise.all([put(store, 'after', content(3000)), third.put('third', content(4000))]);
      t.deepEqual(created.created, true);
      t.is(Number(store.isWriter) + Number((await third.stats()).isWriter), 1);
      for (const [key, length] of [
        ['before', 5000],
        ['after', 3000],
        ['third', 4000],
      ] as const) {
        t.deepEqual(await third.get(key), content(length));
        t.truthy(await store.get(key));
      }
    },
  );

  test.serial(`${kind}: an upload in flight fails when the writer is killed, and leaves nothing`, async (t) => {
    const { writer, store } = await share(t, { kind });
    const body = bodyOf([content(300_000)]);
    const upload = store.put('key', body);
    await until(() => body.readableDidRead);
    await writer.kill();
    await t.throwsAsync(upload, refusal('ERR_HOTBLOB_WRITER_GONE'));
    t.true(body.destroyed);
    await until(() => store.isWriter);
    t.false(await store.delete('key'));
  });

  test.serial(`${kind}: a small upload in flight is sent to the next writer when the writer is killed`, async (t) => {
    const { writer, store } = await share(t, { kind });
    writer.child.kill('SIGSTOP'); // so that there is no result before the kill
    const body = bodyOf([content(1000)]);
    const upload = store.put('key', body, { size: 1000 });
    await until(() => body.readableDidRead);
    body.push(null);
    await until(() => body.readableEnded);
    await writer.kill();
    t.true((await upload).created);
    t.deepEqual(await readShared(store, 'key'), content(1000));
  });

  test(`${kind}: a listing of a reader is that after the last acknowledged operation`, async (t) => {
    const { store } = await share(t, { kind });
    for (let round = 0; round < 100; round++) {
      await put(store, 'key', content(10, round));
      t.is(await countOf(store), 1);
      await store.delete('key');
      t.is(await countOf(store), 0);
    }
  });

  test.serial(`${kind}: closing the writer fails no upload of another process`, async (t) => {
    const { writer, store } = await share(t, { kind });
    let isClosed = false;
    let count = 0;
    const client = async () => {
      while (!isClosed || !store.isWriter) await put(store, `key-${++count}`, content(2000));
    };
    const clients = Promise.all(Array.from({ length: 8 }, client));
    await until(() => count > 20);
    await writer.close();
    isClosed = true;
    await clients;
    t.is(await countOf(store), count);
  });

  test.serial(`${kind}: while the writer closes, a slow upload completes and other uploads do not wait`, async (t) => {
    const { writer, store } = await share(t, { kind });
    const body = bodyOf([content(300_000)]);
    const slow = store.put('slow', body);
    await until(() => body.readableDidRead && body.readableLength === 0);
    const closed = writer.close();
    await writer.stats(); // the writer has begun to close
    for (let count = 0; count < 20; count++) t.true((await put(store, `key-${count}`, content(2000))).created);
    body.push(null);
    t.true((await slow).created);
    await closed;
    t.deepEqual(await readShared(store, 'slow'), content(300_000));
    t.true((await put(store, 'next', content(10))).created);
  });

  test(`${kind}: reads in other processes count for eviction`, async (t) => {
    const options = { kind, maxBytes: 64 * BLOCK } as const;
    const { writer, store } = await share(t, options);
    await writer.put('old', content(BLOCK));
    for (let index = 0; ((await writer.stats()).evicted ?? 0) < 100; index++) {
      await writer.put(`other-${index}`, content(BLOCK, index));
      await store.get('old');
      // The store reports the reads of a thousand keys at once.
      for (let other = 0; other < 1000; other++) await store.get(`none-${index}-${other}`);
    }
    t.deepEqual(await writer.get('old'), content(BLOCK));
  });

  test(`${kind}: the errors of the writer have their codes`, async (t) => {
    const { store } = await share(t, { kind, maxBytes: 16 * BLOCK });
    // The store is empty: otherwise a segment store may be full before the upload has exceeded its limit.
    const pieces = Readable.from(Array.from({ length: 20 }, () => content(BLOCK)).flatMap(inThousands));
    await t.throwsAsync(store.put('large', pieces), refusal('ERR_HOTBLOB_TOO_LARGE'));
    await put(store, 'key', 'x');
    await t.throwsAsync(put(store, 'key', 'y', { ifAbsent: true }), refusal('ERR_HOTBLOB_EXISTS'));
    await t.throwsAsync(put(store, 'large', content(20 * BLOCK)), refusal('ERR_HOTBLOB_TOO_LARGE'));
    const header = { metadata: { headers: { 'set-cookie': 'a' } } };
    await t.throwsAsync(put(store, 'key', 'y', header), refusal('ERR_HOTBLOB_INVALID_OPTION'));
    await t.throwsAsync(put(store, '../key', 'y'), refusal('ERR_HOTBLOB_INVALID_KEY'));
    await put(store, 'key', 'y'); // it may have been evicted
    t.is((await put(store, 'key', 'z')).created, false);
  });

  test(`${kind}: only the user of the processes can connect to the writer`, async (t) => {
    const { dir } = await share(t, { kind });
    const own = kind === 'directory' ? join(dir, '.hotblob') : dir;
    const sockets = (await readdir(own)).filter((name) => name.endsWith('.socket') && name.startsWith('writer-shared'));
    t.true(sockets.length > 0);
    for (const name of sockets) t.is((await stat(join(own, name))).mode & 0o777, 0o600);
  });

  test(`${kind}: statistics are those of the writer`, async (t) => {
    const { writer, store } = await share(t, { kind, maxBytes: 64 * BLOCK });
    await put(store, 'key', content(BLOCK));
    await until(() => store.stats().artifacts === 1);
    const { isWriter, ...stats } = await writer.stats();
    t.true(isWriter);
    t.deepEqual({ ...store.stats() }, stats);
  });
}

test('options are checked', async (t) => {
  const dir = await temporaryDirectory(t);
  const open = (options: object) => sharedStore(dir, options as never); // options of a caller without types
  await t.throwsAsync(open({}), refusal('ERR_HOTBLOB_INVALID_OPTION', /^kind: expected 'directory' or 'segments'/));
  await t.throwsAsync(open({ kind: 'segments', immutable: true }), refusal('ERR_HOTBLOB_INVALID_OPTION', /immutable/));
  await t.throwsAsync(open({ kind: 'segments', maxBytes: -5 }), refusal('ERR_HOTBLOB_INVALID_OPTION', /^maxBytes/));
  await t.throwsAsync(open({ kind: 'directory', maxBytes: -5 }), refusal('ERR_HOTBLOB_INVALID_OPTION', /^maxBytes/));
  t.deepEqual(await readdir(dir), []);
  await t.throwsAsync(open({ kind: 'directory', readOnly: true }), refusal('ERR_HOTBLOB_INVALID_OPTION', /readOnly/));
  await t.throwsAsync(sharedStore('', { kind: 'segments' }), refusal('ERR_HOTBLOB_INVALID_OPTION', /^dir/));
});

test('a closed store rejects operations, and close() may be called twice', async (t) => {
  const store = await sharedStore(await temporaryDirectory(t), { kind: 'segments' });
  t.true(store.isWriter);
  await put(store, 'key', 'x');
  await Promise.all([store.close(), store.close()]);
  await t.throwsAsync(put(store, 'key', 'y'), refusal('ERR_HOTBLOB_CLOSED'));
  t.throws(() => store.get('key'), refusal('ERR_HOTBLOB_CLOSED'));
  const body = Readable.from(['x']);
  await t.throwsAsync(store.put('key', body), refusal('ERR_HOTBLOB_CLOSED'));
  t.true(body.destroyed);
});
