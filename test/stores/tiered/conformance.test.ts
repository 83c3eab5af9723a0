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

interface Parts {
  readonly local: Store;
  readonly remote: Store;
  readonly directory: string;
}

const partsOf = new WeakMap<Store, Parts>();

async function create(
  makeLocal: (directory: string) => TieredStoreOptions['local'] | Promise<TieredStoreOptions['local']>,
  makeRemote: () => Store | Promise<Store>,
  writes: 'writeThrough' | 'writeBack' = 'writeThrough',
): Promise<TieredStore> {
  const directory = await mkdtemp(join(tmpdir(), 'hotblob-tiered-'));
  const local = await makeLocal(join(directory, 'local'));
  const remote = await makeRemote();
  const queueDir = writes === 'writeBack' ? join(directory, 'queue') : undefined;
  const store = await tieredStore({ local, remote, writes, queueDir });
  partsOf.set(store, { local, remote, directory });
  return store;
}

async function dispose(store: Store): Promise<void> {
  const parts = partsOf.get(store);
  if (parts === undefined) return;
  await parts.local.close?.();
  await closeHotblobUpstream(parts.remote);
  await rm(parts.directory, { recursive: true, force: true });
}

const inventory = async (store: Store): Promise<string[]> => {
  const local = partsOf.get(store)?.local as DirectoryStore; // only asked of those that are in front of a directory
  return entriesBelow(local.root);
};

storeConformance({
  test,
  name: 'memory before memory',
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
  name: 'a directory before h2c',
  createStore: () => create(directoryStore, () => openHotblobUpstream('h2c')),
  disposeStore: dispose,
  capabilities: { metadata: true },
  inventory,
});

storeConformance({
  test,
  name: 'a directory before HTTP/1.1, in the background',
  createStore: () => create(directoryStore, () => openHotblobUpstream('HTTP/1.1'), 'writeBack'),
  disposeStore: dispose,
  capabilities: { metadata: true },
  inventory,
});

/** Nothing stays in it, so that every read comes from the remote store. */
const forgetful = (): Store & Pick<Required<Store>, 'put'> => {
  const store = memoryStore({ maxBytes: 0 });
  return { get: (key) => store.get(key), put: (...upload) => store.put(...upload), delete: (key) => store.delete(key) };
};

storeConformance({
  test,
  name: 'a store that keeps nothing before h2c',
  createStore: () => create(forgetful, () => openHotblobUpstream('h2c')),
  disposeStore: dispose,
  capabilities: { tellsCreated: false, metadata: true },
});
