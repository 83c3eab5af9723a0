import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import test from 'ava';
import type { ReadWriteStore, Store } from '../../src/contract/store.js';
import { type DirectoryStore, type DirectoryStoreOptions, directoryStore } from '../../src/stores/directory/store.js';
import { memoryStore } from '../../src/stores/memory.js';
import { type SegmentStore, type SegmentStoreOptions, segmentStore } from '../../src/stores/segments/store.js';
import { storeConformance } from '../../src/testing/index.js';
import { entriesBelow } from '../stores/fixture.js';
import { asStreams, withAsyncLookups } from './wrappers.js';

const MIB = 1024 * 1024;

// In /var/tmp, because tmpdir() can be a tmpfs.
const temporary = await mkdtemp('/var/tmp/hotblob-conformance-');
test.after.always(() => rm(temporary, { recursive: true, force: true }));
let count = 0;

const inMemory = (): ReadWriteStore => memoryStore({ maxBytes: 16 * MIB });
const inDirectory = (options?: DirectoryStoreOptions & { readOnly?: false }): Promise<DirectoryStore> =>
  directoryStore(join(temporary, String(count++)), options);
const inventory = ({ root }: DirectoryStore): Promise<string[]> => entriesBelow(root);

storeConformance({
  test,
  name: 'memory',
  createStore: inMemory,
  capabilities: { metadata: true, evictsAbove: 16 * MIB },
});

storeConformance({
  test,
  name: 'memory, asynchronous',
  createStore: () => withAsyncLookups(inMemory()),
  capabilities: { metadata: true, evictsAbove: 16 * MIB },
});

storeConformance({
  test,
  name: 'directory',
  createStore: () => inDirectory(),
  capabilities: { metadata: true },
  inventory,
});

storeConformance({
  test,
  name: 'directory with a limit',
  createStore: () => inDirectory({ maxBytes: 16 * MIB }),
  capabilities: { metadata: true, evictsAbove: 16 * MIB },
  inventory,
});

storeConformance({
  test,
  name: 'directory, asynchronous',
  createStore: async () => withAsyncLookups(await inDirectory()),
  capabilities: { metadata: true },
});

storeConformance({
  test,
  name: 'directory, read-only',
  createStore: async (): Promise<Store & { readonly root: string }> => {
    const store = await inDirectory({ immutable: false });
    return { root: store.root, get: (key) => store.get(key) };
  },
  capabilities: { writable: false },
  seed: async ({ root }, key, bytes) => {
    await mkdir(dirname(join(root, key)), { recursive: true });
    await writeFile(join(root, key), bytes);
  },
});

storeConformance({
  test,
  name: 'streams with ranges',
  createStore: async () => asStreams(await inDirectory(), { sized: true }),
});

storeConformance({
  test,
  name: 'streams without ranges',
  createStore: () => asStreams(inMemory(), { sized: false }),
  capabilities: { ranges: false },
});

const inSegments = (options?: SegmentStoreOptions): Promise<SegmentStore> =>
  segmentStore(join(temporary, String(count++)), { ...options, readOnly: false });

storeConformance({ test, name: 'segments', createStore: () => inSegments(), capabilities: { metadata: true } });

storeConformance({
  test,
  name: 'segments with a limit',
  createStore: () => inSegments({ maxBytes: 32 * MIB }),
  capabilities: { metadata: true, evictsAbove: 32 * MIB },
});

storeConformance({
  test,
  name: 'segments with verified reads',
  createStore: () => inSegments({ verifyReads: true, segmentBytes: MIB }),
  capabilities: { metadata: true },
});
