import { rename, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import test, { type ExecutionContext } from 'ava';
import type { ReadWriteStore, Store } from '../../src/contract/store.js';
import type { BindingChoice } from '../../src/page-cache/bindings.js';
import { directoryStore } from '../../src/stores/directory/store.js';
import { memoryStore } from '../../src/stores/memory.js';
import { segmentStore } from '../../src/stores/segments/store.js';
import { tieredStore } from '../../src/stores/tiered/store.js';
import { assertAllBack, assertBytes, type FileSite, filesOf, openFileSite } from '../helpers/file-site.js';
import { KIB, MIB, pattern, temporaryDirectory } from '../helpers/files.js';
import { deletedFilesHeld } from '../helpers/page-cache.js';
import { startPaused } from '../helpers/paused.js';
import { settled, until } from '../helpers/poll.js';
import type { Kind } from '../helpers/servers.js';

const MAX_BYTES = 20 * MIB;
const LARGE_BYTES = 16 * MIB;
const SMALL_BYTES = 100 * KIB;
const PARALLEL = 20;

/** Keeps the last files in a directory. Does not call `releaseFile`. */
function silentStore(directory: string): Store {
  const keys = new Set<string>();
  return {
    ...filesOf(directory),
    async put(key, body) {
      await writeFile(join(directory, `${key}.new`), await buffer(body));
      await rename(join(directory, `${key}.new`), join(directory, key));
      keys.delete(key);
      keys.add(key);
      for (const oldest of keys) {
        if (keys.size <= 40) break;
        keys.delete(oldest);
        await unlink(join(directory, oldest));
      }
      return { created: true };
    },
    async delete(key) {
      await unlink(join(directory, key));
      return keys.delete(key);
    },
  };
}

async function closed<T extends ReadWriteStore>(t: ExecutionContext, opening: Promise<T>): Promise<T> {
  const store = await opening;
  t.teardown(() => store.close());
  return store;
}

const DIRECTORY = { maxBytes: MAX_BYTES, immutable: true } as const;

const STORES: Record<string, (t: ExecutionContext, directory: string) => Promise<Store>> = {
  directory: (t, directory) => closed(t, directoryStore(directory, DIRECTORY)),
  segments: (t, directory) => closed(t, segmentStore(directory, { maxBytes: MAX_BYTES, segmentBytes: 4 * MIB })),
  tiered: async (t, directory) => {
    const local = await closed(t, directoryStore(directory, DIRECTORY));
    const store = await tieredStore({ local, remote: memoryStore({ maxBytes: 2 * MAX_BYTES }), spoolDir: directory });
    t.teardown(() => store.close());
    return store;
  },
  'wrapped directory': async (t, directory) => {
    const { get, put } = await closed(t, directoryStore(directory, DIRECTORY)).then((store) => ({
      get: store.get.bind(store),
      put: store.put.bind(store),
    }));
    return { get, put };
  },
};

async function upload(t: ExecutionContext, site: FileSite, key: string, bytes: Buffer): Promise<void> {
  t.is((await site.get(key, { method: 'PUT', body: bytes })).status, 200);
}

/** Uploads and downloads small artifacts until `LARGE_BYTES` and many of them have been evicted. */
async function evictMany(t: ExecutionContext, site: FileSite, uploads: number): Promise<void> {
  for (let first = 0; first < uploads; first += PARALLEL) {
    const indexes = Array.from({ length: PARALLEL }, (_, offset) => first + offset);
    await Promise.all(indexes.map((index) => upload(t, site, `${index}`, pattern(SMALL_BYTES, index))));
    const responses = await Promise.all(indexes.map((index) => site.get(`${index}`)));
    for (const [offset, { body }] of responses.entries()) assertBytes(t, body, pattern(SMALL_BYTES, first + offset));
  }
}

async function assertReleased(
  t: ExecutionContext,
  store: Store,
  directory: string,
  kinds: readonly Kind[],
  uploads: number,
  bindings: BindingChoice = {},
): Promise<void> {
  for (const kind of kinds) {
    const site = await openFileSite(t, kind, { directory, store, bindings });
    const large = pattern(LARGE_BYTES, 1);
    await upload(t, site, 'large', large);
    const download = await startPaused(t, site.server, '/large');
    await settled(() => site.handler.stats());
    await evictMany(t, site, uploads);
    const held = deletedFilesHeld(directory);
    t.true(held.length > 0, 'the download in flight holds its file');
    t.deepEqual([...new Set(held)], [held[0]], 'no other deleted file is open or mapped');
    assertBytes(t, await download.finish(), large);
    await until('the file is released with its last response', () => deletedFilesHeld(directory).length === 0);
    // Replaced, and deleted if the store can.
    const last = `${uploads - 1}`;
    await upload(t, site, last, pattern(MIB, 7));
    assertBytes(t, (await site.get(last)).body, pattern(MIB, 7));
    await upload(t, site, last, pattern(MIB, 8));
    assertBytes(t, (await site.get(last)).body, pattern(MIB, 8));
    t.deepEqual(deletedFilesHeld(directory), []);
    if (store.delete !== undefined) t.is((await site.get(last, { method: 'DELETE' })).status, 204);
    await until('a segment whose artifacts are deleted is removed', () => deletedFilesHeld(directory).length === 0);
    t.true(site.handler.stats().sent.mapped.bytes > 0);
    t.is(site.handler.stats().mappedBytes, 0);
    site.handler.close();
  }
}

for (const [name, open] of Object.entries(STORES)) {
  test(`${name}: an evicted, replaced or deleted file is closed and unmapped at once, or with its last response`, async (t) => {
    const directory = await temporaryDirectory(t);
    const store = await open(t, directory);
    if (name === 'directory') await assertReleased(t, store, directory, ['http', 'h2c'], 300);
    else if (name === 'segments') await assertReleased(t, store, directory, ['http'], 400);
    else await assertReleased(t, store, directory, ['http'], 120);
  });
}

for (const bindings of [{ mmapIo: false }, { libc: false }]) {
  test(`${JSON.stringify(bindings)}: evicted files are unmapped without garbage collection`, async (t) => {
    const directory = await temporaryDirectory(t);
    const store = await closed(t, directoryStore(directory, DIRECTORY));
    await assertReleased(t, store, directory, ['http'], 120, bindings);
  });
}

test('a file that a store or another process deletes without a word is closed and unmapped soon', async (t) => {
  const directory = await temporaryDirectory(t);
  const site = await openFileSite(t, 'http', { directory, store: silentStore(directory) });
  await evictMany(t, site, 100);
  await until('no deleted file is open or mapped', () => deletedFilesHeld(directory).length === 0, 10_000);
  t.true(site.handler.stats().openFiles > 0, 'files that exist stay open');
  await assertAllBack(t, site);
});
