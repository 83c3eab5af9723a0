import { readdir } from 'node:fs/promises';
import { errnoCode } from '../../contract/errors.js';
import type { ReadWriteStore, Store } from '../../contract/store.js';
import { invalidOption } from '../../contract/validation.js';
import { type DirectoryStore, directoryStore } from '../../stores/directory/store.js';
import { isSegmentStore } from '../../stores/segments/layout.js';
import { loadLmdb } from '../../stores/segments/lmdb.js';
import { type SegmentStore, segmentStore } from '../../stores/segments/store.js';
import { tieredStore } from '../../stores/tiered/store.js';
import { upstreamStore } from '../../stores/upstream/store.js';

/** Where the artifacts of a server are kept: a file each, or in segments. */
export type StoreKind = 'directory' | 'segments';

export interface ServedStoreOptions {
  /** Default: what is there already; in a new directory segments, where `lmdb` loads. */
  readonly kind: StoreKind | undefined;
  readonly dir: string;
  /** Of a directory of files. */
  readonly immutable: boolean | undefined;
  /** Of segments. */
  readonly verifyReads: boolean | undefined;
  readonly maxBytes: number | undefined;
  readonly upstream: Upstream | undefined;
}

/** Another cache, which gets the uploads too and is asked for what is not here. */
export interface Upstream {
  readonly url: string;
  readonly token: string | undefined;
}

/** The store of a server, and what the command line says about it. */
export interface ServedStore {
  readonly store: ReadWriteStore & Required<Pick<Store, 'list' | 'stats'>>;
  readonly kind: StoreKind;
  /** Whether its files may be mapped. */
  readonly immutable: boolean;
}

/** Opens the store of a server. Closing it closes all that it consists of. */
export async function openStore(options: ServedStoreOptions): Promise<ServedStore> {
  const { upstream } = options;
  // First what can be wrong without anything having been opened.
  const remote = upstream && upstreamStore(upstream.url, { token: upstream.token });
  const local = await openLocal(options);
  if (remote === undefined) return local;
  const tiers = await tieredStore({ local: local.store, remote });
  const store: ServedStore['store'] = {
    get: (key, get) => tiers.get(key, get),
    put: (key, body, put) => tiers.put(key, body, put),
    // It has one, because the local store has.
    delete: async (key) => (await tiers.delete?.(key)) ?? false,
    list: () => local.store.list(),
    stats: () => tiers.stats(),
    close: async () => {
      await tiers.close();
      await remote.close();
      await local.store.close();
    },
  };
  return { ...local, store };
}

async function openLocal({ kind, dir, immutable, verifyReads, maxBytes }: ServedStoreOptions): Promise<ServedStore> {
  const chosen = kind ?? (await kindOf(dir, immutable));
  if (verifyReads && chosen !== 'segments') {
    throw invalidOption('--verify-reads', 'segments, which have checksums', chosen);
  }
  if (chosen === 'segments') {
    const store: SegmentStore = await segmentStore(dir, { maxBytes, verifyReads });
    return { store, kind: chosen, immutable: true };
  }
  const store: DirectoryStore = await directoryStore(dir, { immutable, maxBytes });
  return { store, kind: chosen, immutable: store.immutable };
}

/** How `dir` is served where nobody says. */
export async function kindOf(dir: string, immutable: boolean | undefined): Promise<StoreKind> {
  if (await isSegmentStore(dir)) return 'segments';
  // Files that are there are to be served, and only files can be vouched for.
  return (await isNew(dir)) && immutable === undefined && hasLmdb() ? 'segments' : 'directory';
}

async function isNew(dir: string): Promise<boolean> {
  try {
    return (await readdir(dir)).length === 0;
  } catch (error) {
    return errnoCode(error) === 'ENOENT'; // what else is wrong with it the store will say
  }
}

/** Whether segments can be read and written here. */
export function hasLmdb(): boolean {
  try {
    loadLmdb();
    return true;
  } catch {
    return false;
  }
}
