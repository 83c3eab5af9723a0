// Program of full-disk.test.ts: `full-disk-child.ts dir scenario`. Uses a store on a file system that another program fills.
// Writes its observations to stdout as one line of JSON.
import { open, stat, statfs, truncate, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { errnoCode } from '../../../src/contract/errors.js';
import { type SegmentStore, segmentStore } from '../../../src/stores/segments/store.js';
import { content, put } from '../fixture.js';

const [dir = '', scenario = ''] = process.argv.slice(2);
const storeDir = join(dir, 'store');

/** Uses the free space of the file system, except `spare` bytes. */
async function fillRest(spare = 0): Promise<void> {
  const file = await open(join(dir, 'ballast'), 'a');
  for (const size of [65_536, 4096, 1]) {
    while (
      (await freeBytes()) - size >= spare &&
      (await file.write(content(size)).catch(() => undefined)) !== undefined
    );
  }
  await file.close();
}

async function freeBytes(): Promise<number> {
  const { bavail, bsize } = await statfs(dir);
  return bavail * bsize;
}

/** Resolves to `done`, or to the code of the error. */
function outcomeOf(operation: Promise<unknown>): Promise<unknown> {
  return operation.then(() => 'done', errnoCode);
}

/** Deletes artifacts and counts the outcomes. */
async function deleteAll(store: SegmentStore, count: number, after?: () => Promise<void>) {
  const outcomes: Record<string, number> = {};
  for (let index = 0; index < count; index++) {
    const outcome = String(await outcomeOf(store.delete(`small/${index}`)));
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    await after?.();
  }
  return outcomes;
}

async function putSmall(store: SegmentStore, count: number, bytes: number): Promise<void> {
  for (let index = 0; index < count; index++) await put(store, `small/${index}`, content(bytes, index));
}

function reserveSize(): Promise<number | string | undefined> {
  return stat(join(storeDir, 'reserve')).then(({ size }) => size, errnoCode);
}

const SCENARIOS: Record<string, () => Promise<object>> = {
  /** Purges a store on a full disk, which makes room for uploads. */
  async purge() {
    const store = await segmentStore(storeDir, { segmentBytes: 2_000_000, maxBytes: 100_000_000 });
    await put(store, 'kept', content(1000));
    await putSmall(store, 300, 20_000);
    await fillRest();
    const freeWhenFull = await freeBytes();
    const uploadWhenFull = await outcomeOf(put(store, 'new', content(1_500_000)));
    const purged = await store.purge({ protocol: 'plain', usedBefore: new Date(Date.now() + 1000) }, { dryRun: true });
    const result = await store.purge({ namespace: 'none' });
    const all = await store.purge({});
    const upload = await outcomeOf(put(store, 'new', content(1_500_000)));
    await store.close();
    return { freeWhenFull, uploadWhenFull, purged, result, all, upload };
  },
  /** Deletes artifacts, which makes room for uploads. */
  async delete() {
    const options = { segmentBytes: 2_000_000, maxBytes: 100_000_000 };
    let store = await segmentStore(storeDir, options);
    await put(store, 'large', content(1_500_000));
    await putSmall(store, 200, 20_000);
    await fillRest();
    const freeWhenFull = await freeBytes();
    const uploadWhenFull = await outcomeOf(put(store, 'refused', content(20_000)));
    await store.close();
    // A store on a full file system can be opened for writing.
    store = await segmentStore(storeDir, options);
    const isLargeDeleted = await store.delete('large');
    await put(store, 'new/large', content(1_000_000));
    await fillRest();
    const deleted = await deleteAll(store, 60);
    // The dead bytes are in a segment with other artifacts.
    await put(store, 'new/small', content(20_000));
    const stored = ['new/large', 'new/small', 'small/0', 'large'].filter((key) => store.get(key) !== undefined);
    const { artifacts = 0 } = store.stats();
    await store.close();
    return { freeWhenFull, uploadWhenFull, isLargeDeleted, deleted, stored, artifacts };
  },

  /** Another program uses the space that each deletion frees. */
  async 'used reserve'() {
    const store = await segmentStore(storeDir);
    await putSmall(store, 1000, 5000);
    await fillRest();
    const outcomes = await deleteAll(store, 1000, fillRest);
    await store.close();
    return { outcomes };
  },

  /** The process was killed while it wrote the reserve. */
  async 'incomplete reserve'() {
    let store = await segmentStore(storeDir);
    await putSmall(store, 200, 5000);
    await fillRest(200_000);
    await store.close();
    await truncate(join(storeDir, 'reserve'), 150_000);
    store = await segmentStore(storeDir);
    await fillRest();
    const sizeBefore = await reserveSize();
    const outcomes = await deleteAll(store, 3);
    const sizeAfter = await reserveSize();
    await store.close();
    return { sizeBefore, sizeAfter, outcomes };
  },

  /** An upload finds a segment with dead bytes, but no space to copy its live ones. */
  async reclaim() {
    const result: Record<string, unknown> = {};
    for (const maxBytes of [undefined, 100_000_000]) {
      const store = await segmentStore(`${storeDir}${maxBytes}`, { maxBytes });
      await putSmall(store, 30, 100_000);
      await putSmall(store, 3, 100_000); // replaces
      await fillRest();
      const uploads = [await outcomeOf(put(store, 'tiny', content(1000)))];
      for (let index = 0; index < 20; index++) await store.delete(`small/${index}`);
      uploads.push(await outcomeOf(put(store, 'tiny', content(1000))));
      const { artifacts } = store.stats();
      await store.close();
      await unlink(join(dir, 'ballast'));
      result[`${maxBytes}`] = { uploads, artifacts };
    }
    return result;
  },

  /** A client has announced more bytes than are free, and sends few. */
  async 'slow upload'() {
    const store = await segmentStore(storeDir);
    const slow = new PassThrough();
    const slowOutcome = outcomeOf(store.put('slow', slow, { size: 60_000_000 }));
    await new Promise<void>((resolve) => {
      const isWritten = (bytes: number): void => {
        if ((store.stats().bytes ?? 0) >= bytes) resolve();
        else setImmediate(isWritten, bytes);
      };
      slow.write(content(300_000));
      isWritten(300_000);
    });
    const others: unknown[] = [];
    for (const bytes of [1000, 100_000, 1_000_000])
      others.push(await outcomeOf(put(store, `${bytes}`, content(bytes))));
    // Filling the hole takes space, too.
    slow.on('error', () => {});
    for (let written = 0; written < 16_000_000; written += 100_000) slow.write(content(100_000));
    const slowEnd = await slowOutcome;
    const free = await freeBytes();
    await store.close();
    return { others, slowEnd, isSpaceKept: free >= 128 * 1024 };
  },

  /** The file system does not report its size. */
  async unlimited() {
    const store = await segmentStore(storeDir);
    await putSmall(store, 3, 100_000);
    const outcomes = await deleteAll(store, 3);
    await store.close();
    return { outcomes };
  },

  /** Another process tries to open the store for writing. */
  async locked() {
    const store = await segmentStore(storeDir);
    await fillRest();
    const size = await reserveSize();
    const opened = await outcomeOf(segmentStore(storeDir));
    const isKept = (await reserveSize()) === size;
    await store.close();
    return { opened, isKept };
  },
};

process.stdout.write(JSON.stringify(await SCENARIOS[scenario]?.()));
