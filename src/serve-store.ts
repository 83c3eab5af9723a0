import { readdir } from 'node:fs/promises';
import { errnoCode } from './errors.js';
import type { Store } from './store.js';
import { type DirectoryStore, directoryStore } from './stores/directory.js';
import { findLayout } from './stores/segments/layout.js';
import { loadLmdb } from './stores/segments/lmdb.js';
import { type SegmentStore, segmentStore } from './stores/segments/store.js';

/** Where the artifacts of a server are kept: a file each, or in segments. */
export type StoreKind = 'directory' | 'segments';

export interface LocalStoreOptions {
  /** Default: what is there already; in a new directory segments, where `lmdb` loads. */
  readonly kind: StoreKind | undefined;
  readonly dir: string;
  /** Of a directory of files. */
  readonly immutable: boolean | undefined;
  readonly maxBytes: number | undefined;
}

/** A store, and what the command line says about it. */
export interface LocalStore {
  readonly store: Required<Store>;
  readonly kind: StoreKind;
  /** Whether its files may be mapped. */
  readonly immutable: boolean;
}

/** Opens the store of a server. */
export async function openLocalStore({ kind, dir, immutable, maxBytes }: LocalStoreOptions): Promise<LocalStore> {
  const chosen = kind ?? (await kindOf(dir, immutable));
  if (chosen === 'segments') {
    const store: SegmentStore = await segmentStore(dir, { maxBytes });
    return { store, kind: chosen, immutable: true };
  }
  const store: DirectoryStore = await directoryStore(dir, { immutable, maxBytes });
  return { store, kind: chosen, immutable: store.immutable };
}

async function kindOf(dir: string, immutable: boolean | undefined): Promise<StoreKind> {
  if (await isSegmentStore(dir)) return 'segments';
  // Files that are there are to be served, and only files can be vouched for.
  return (await isNew(dir)) && immutable === undefined && hasLmdb() ? 'segments' : 'directory';
}

function isSegmentStore(dir: string): Promise<boolean> {
  return findLayout(dir).then(
    () => true,
    () => false,
  );
}

async function isNew(dir: string): Promise<boolean> {
  try {
    return (await readdir(dir)).length === 0;
  } catch (error) {
    return errnoCode(error) === 'ENOENT'; // what else is wrong with it the store will say
  }
}

function hasLmdb(): boolean {
  try {
    loadLmdb();
    return true;
  } catch {
    return false;
  }
}
