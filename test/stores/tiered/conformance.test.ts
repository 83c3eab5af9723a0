import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { Store } from '../../../src/contract/store.js';
import { type DirectoryStore, directoryStore } from '../../../src/stores/directory/store.js';
import { memoryStore } from '../../../src/stores/memory.js';
import { type TieredStore, type TieredStoreOptions, tieredStore } from '../../../src/stores/tiered/store.js';
import { storeConformance } from '../../../src/testing/index.js';
import { entriesBelow } from '../fixture.js';
import { closeHotblobUpstream, openHotblobUpstream } from '../upstream/hotblob-upstream.js';

interface Resources {
  readonly local: Store;
  readonly remote: Store;
  readonly directory: string;
}

const resourcesOf = new WeakMap<Store, Resources>();

async function create(
  createLocal: (directory: string) => TieredStoreOptions['local'] | Promise<TieredStoreOptions['local']>,
  createRemote: () => Store | Promise<Store>,
  writes: 'writeThrough' | 'writeBack' = 'writeThrough',
): Promise<TieredStore> {
  const directory = await mkdtemp(join(tmpdir(), 'hotblob-tiered-'));
  const local = await createLocal(join(directory, 'local'));
  const remote = await createRemote();
  const queueDir = writes === 'writeBack' ? join(directory, 'queue') : undefined;
  const store = await tieredStore({ local, remote, writes, queueDir });
  // purge() counts the artifacts of both stores, and an upstream cache without purge() keeps its own. purge.test.ts has its tests.
  delete store.purge;
  resourcesOf.set(store, { local, remote, directory });
  return store;
}

async function dispose(store: Store): Promise<void> {
  const resources = resourcesOf.get(store);
  if (resources === undefined) return;
  await resources.local.close?.();
  await closeHotblobUpstream(resources.remote);
  await rm(resources.directory, { recursive: true, force: true });
}

const inventory = async (store: Store): Promise<string[]> => {
  const local = resourcesOf.get(store)?.local as DirectoryStore; // Used only where the local store is a directory.
  return entriesBelow(local.root);
};

storeConformance({
  test,
  name: 'memory, remote memory',
  createStore: () =>
    create(
      () => memoryStore({ maxBytes: 2 ** 28 }),
      () => memoryStore({ maxBytes: 2 ** 28 }),
    ),
  disposeStore: dispose,
  capabilities: { metadata: true },
});

storeConformance({
  test,
  name: 'directory, remote h2c',
  createStore: () => create(directoryStore, () => openHotblobUpstream('h2c')),
  disposeStore: dispose,
  capabilities: { metadata: true },
  inventory,
});

storeConformance({
  test,
  name: 'directory, remote HTTP/1.1, write-back',
  createStore: () => create(directoryStore, () => openHotblobUpstream('HTTP/1.1'), 'writeBack'),
  disposeStore: dispose,
  capabilities: { metadata: true },
  inventory,
});

/** Creates a store that keeps nothing, so that every read comes from the remote store. */
const createEmptyStore = (): Store & Pick<Required<Store>, 'put'> => {
  const store = memoryStore({ maxBytes: 0 });
  return { get: (key) => store.get(key), put: (...upload) => store.put(...upload), delete: (key) => store.delete(key) };
};

storeConformance({
  test,
  name: 'local store that keeps nothing, remote h2c',
  createStore: () => create(createEmptyStore, () => openHotblobUpstream('h2c')),
  disposeStore: dispose,
  capabilities: { reportsCreated: false, metadata: true },
});
