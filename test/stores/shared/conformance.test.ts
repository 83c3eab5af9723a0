import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { type SharedStore, sharedStore } from '../../../src/stores/shared/store.js';
import { storeConformance } from '../../../src/testing/index.js';
import { entriesBelow } from '../fixture.js';
import { SharingProcess } from './process.js';

const teardowns = new WeakMap<SharedStore, () => Promise<unknown>>();

for (const kind of ['directory', 'segments'] as const) {
  storeConformance<SharedStore>({
    test,
    name: `${kind}, another process writes`,
    async createStore() {
      const directory = await mkdtemp(join(tmpdir(), 'hotblob-shared-'));
      const tasks: (() => unknown)[] = [];
      const writer = await SharingProcess.start({ teardown: (task) => void tasks.push(task) }, directory, { kind });
      const store = await sharedStore(directory, { kind });
      if (store.isWriter) throw new Error('expected the other process to be the writer');
      teardowns.set(store, async () => {
        await writer.close();
        for (const task of tasks) await task();
        await rm(directory, { recursive: true });
      });
      return store;
    },
    disposeStore: (store) => teardowns.get(store)?.(),
    capabilities: { metadata: true },
    ...(kind === 'directory' && {
      inventory: async (store) => (await entriesBelow(store.root)).filter((name) => !name.includes('writer-shared')),
    }),
  });
}
