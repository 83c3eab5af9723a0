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

/** Kind of local store: one file per artifact, or segments. */
export type StoreKind = 'directory' | 'segments';

export interface ServedStoreOptions {
  /** Default: the kind found in `dir`; for a new directory segments if `lmdb` can be loaded. */
  readonly kind: StoreKind | undefined;
  readonly dir: string;
  /** Only for a directory store. */
  readonly immutable: boolean | undefined;
  /** Only for a segment store. */
  readonly verifyReads: boolean | undefined;
  readonly maxBytes: number | undefined;
  readonly upstream: Upstream | undefined;
}

/** Another cache: misses are fetched from it and uploads are sent to it. */
export interface Upstream {
  readonly url: string;
  readonly token: string | undefined;
}

/** Opened store of a server. */
export interface ServedStore {
  readonly store: ReadWriteStore & Required<Pick<Store, 'list' | 'stats'>>;
  readonly kind: StoreKind;
  /** Whether files of the store may be mapped. */
  readonly immutable: boolean;
}

/** Opens the store of a server. Closing it closes the upstream too. */
export async function openStore(options: ServedStoreOptions): Promise<ServedStore> {
  const { upstream } = options;
  // Created first because it throws for an invalid URL. Nothing has been opened at that point.
  const remote = upstream && upstreamStore(upstream.url, { token: upstream.token });
  const local = await openLocal(options);
  if (remote === undefined) return local;
  const tiers = await tieredStore({ local: local.store, remote });
  const store: ServedStore['store'] = {
    get: (key, get) => tiers.get(key, get),
    put: (key, body, put) => tiers.put(key, body, put),
    // A tiered store has `delete` if the local store has it, as both kinds do. The types do not say so.
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
  const storeKind = kind ?? (await detectKind(dir, immutable));
  if (verifyReads && storeKind !== 'segments') {
    throw invalidOption('--verify-reads', 'a segment store, which has checksums', storeKind);
  }
  if (storeKind === 'segments') {
    const store: SegmentStore = await segmentStore(dir, { maxBytes, verifyReads });
    return { store, kind: storeKind, immutable: true };
  }
  const store: DirectoryStore = await directoryStore(dir, { immutable, maxBytes });
  return { store, kind: storeKind, immutable: store.immutable };
}

/** Returns the kind of store used for `dir` if none is given. */
export async function detectKind(dir: string, immutable: boolean | undefined): Promise<StoreKind> {
  if (await isSegmentStore(dir)) return 'segments';
  // A directory with files keeps serving them, and `immutable` applies only to a directory store.
  return (await isNew(dir)) && immutable === undefined && hasLmdb() ? 'segments' : 'directory';
}

async function isNew(dir: string): Promise<boolean> {
  try {
    return (await readdir(dir)).length === 0;
  } catch (error) {
    return errnoCode(error) === 'ENOENT'; // any other error is thrown again when the store is opened
  }
}

export function hasLmdb(): boolean {
  try {
    loadLmdb();
    return true;
  } catch {
    return false;
  }
}
