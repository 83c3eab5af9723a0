import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { errnoCode } from '../../contract/errors.js';
import type { Store } from '../../contract/store.js';
import { invalidOption } from '../../contract/validation.js';
import { isCreatedByStore } from '../../stores/directory/marker.js';
import { LOST_AND_FOUND, RESERVED_NAME } from '../../stores/directory/paths.js';
import { directoryStore } from '../../stores/directory/store.js';
import type { RetentionRule } from '../../stores/retention/rules.js';
import { holdsSegmentStore } from '../../stores/segments/layout.js';
import { loadLmdb } from '../../stores/segments/lmdb.js';
import { segmentStore } from '../../stores/segments/store.js';
import { sharedStore } from '../../stores/shared/store.js';
import { assertWritable } from '../../stores/tiered/spool.js';
import { tieredStore } from '../../stores/tiered/store.js';
import { upstreamStore } from '../../stores/upstream/store.js';
import { createDirectory } from '../../util/create-directory.js';
import { PRIVATE } from '../../util/permissions.js';
import { messageOf } from '../../util/report-event.js';

/** Kind of local store: one file per artifact, or segments. */
export type StoreKind = 'directory' | 'segments';

export interface ServedStoreOptions {
  /**
   * Kind of the local store. Default: the kind found in `dir`; for a new directory, segments if `lmdb` can be loaded.
   */
  readonly kind: StoreKind | undefined;
  readonly dir: string;
  /** Option of a directory store: files are never truncated or rewritten in place. */
  readonly immutable: boolean | undefined;
  /** Option of a segment store: compare artifacts with their checksums before sending them. */
  readonly verifyReads: boolean | undefined;
  readonly maxBytes: number | undefined;
  /** Limits for groups of artifacts. Default: only `maxBytes`. */
  readonly retain?: readonly RetentionRule[] | undefined;
  readonly groupAccess?: boolean | undefined;
  /** Whether the local store is opened for reading only, unless there is an upstream. Default: only if it cannot be written. */
  readonly readOnly?: boolean | undefined;
  /** Number of processes that share the store. Default: 1. */
  readonly processes?: number | undefined;
  readonly upstream: Upstream | undefined;
}

/** Uploads that an upstream gets: none, each before it is acknowledged, or each in the background. */
export type UpstreamMode = 'read' | 'write' | 'write-back';

/** Another cache. The server fetches misses from it and sends uploads to it. */
export interface Upstream {
  readonly url: string;
  readonly token: string | undefined;
  readonly mode: UpstreamMode;
  /** Directory for artifacts that are being fetched. Default: the temporary directory of the system, if it can be written. */
  readonly spoolDir: string | undefined;
  /** Maximum disk space for artifacts that are being fetched. */
  readonly maxSpoolBytes: number | undefined;
}

/** Opened store of a server. */
export interface ServedStore {
  readonly store: Store &
    Required<Pick<Store, 'list' | 'stats' | 'close'>> & { readonly isWriter?: boolean | undefined };
  readonly kind: StoreKind;
  /** Whether files of the store may be mapped. */
  readonly immutable: boolean;
  /** Counts bytes of other files in the directory of the store towards its limit. Absent if the store does not count them. */
  readonly countBytes?: ((bytes: number) => void) | undefined;
  /** Reason for which the store is read-only although the options do not say so. */
  readonly readOnlyReason?: string | undefined;
}

/** Returns the directory for uploads and deletions that the upstream of a server with `dir` gets later. */
export function queueDirectoryOf(dir: string): string {
  return join(dir, RESERVED_NAME, 'replication');
}

/** Opens the store of a server. `close` of the returned store also closes the upstream. */
export async function openStore(options: ServedStoreOptions): Promise<ServedStore> {
  const { upstream } = options;
  // The upstream is created first, because this throws for an invalid URL, and nothing else is open yet.
  const remote = upstream && upstreamStore(upstream.url, { token: upstream.token });
  const local = await openLocal(options);
  if (upstream === undefined || remote === undefined) return local;
  const { mode, maxSpoolBytes } = upstream;
  const own = join(options.dir, RESERVED_NAME);
  const tiers = await tieredStore({
    local: local.store,
    remote: mode === 'read' ? { get: (key, get) => remote.get(key, get), stats: () => remote.stats() } : remote,
    ...(mode === 'write-back' ? { writes: 'writeBack', queueDir: queueDirectoryOf(options.dir) } : {}),
    spoolDir: upstream.spoolDir ?? (await defaultSpoolDir(own)),
    maxSpoolBytes,
  });
  const store: ServedStore['store'] = {
    get: (key, get) => tiers.get(key, get),
    put: (key, body, put) => tiers.put(key, body, put),
    // A tiered store has `delete` if its local store has it. Both kinds of local store do, but the types do not express
    // this.
    delete: async (key) => (await tiers.delete?.(key)) ?? false,
    get isWriter() {
      return local.store.isWriter;
    },
    list: (list) => local.store.list(list),
    ...(tiers.purge && { purge: tiers.purge }),
    stats: () => tiers.stats(),
    close: async () => {
      await tiers.close();
      await remote.close();
      await local.store.close();
    },
  };
  return { ...local, store };
}

/** Returns the temporary directory of the system, or, if no files can be created there, a directory of the store. */
async function defaultSpoolDir(own: string): Promise<string> {
  try {
    await assertWritable(tmpdir());
    return tmpdir();
  } catch {
    await createDirectory(own, PRIVATE.directory);
    return own;
  }
}

async function openLocal({ kind, dir, ...options }: ServedStoreOptions): Promise<ServedStore> {
  const { immutable, verifyReads, maxBytes, retain, groupAccess, upstream, processes = 1 } = options;
  const storeKind = kind ?? (await detectKind(dir, immutable));
  if (verifyReads && storeKind !== 'segments') {
    throw invalidOption('--verify-reads', 'a segment store, because only segments have checksums', storeKind);
  }
  const open = async (readOnly: boolean): Promise<ServedStore> => {
    // Without lmdb, the processes cannot elect a writer. They can then write to one directory independently of each other.
    if (processes > 1 && !readOnly && hasLmdb()) {
      const common = { maxBytes, retain, groupAccess };
      return storeKind === 'segments'
        ? {
            store: await sharedStore(dir, { kind: storeKind, verifyReads, ...common }),
            kind: storeKind,
            immutable: true,
          }
        : {
            store: await sharedStore(dir, { kind: storeKind, immutable, ...common }),
            kind: storeKind,
            immutable: immutable ?? (await isCreatedByStore(dir)),
          };
    }
    if (storeKind === 'segments') {
      const store = await segmentStore(dir, { maxBytes, retain, verifyReads, groupAccess, readOnly });
      return { store, kind: storeKind, immutable: true };
    }
    if (readOnly) {
      const store = await directoryStore(dir, { immutable, readOnly });
      return { store, kind: storeKind, immutable: store.immutable };
    }
    const store = await directoryStore(dir, { immutable, maxBytes, retain, groupAccess });
    return { store, kind: storeKind, immutable: store.immutable, countBytes: (bytes) => store.countBytes(bytes) };
  };
  // With an upstream, the local store keeps copies of what clients read.
  if (options.readOnly && upstream === undefined) return open(true);
  try {
    return await open(false);
  } catch (error) {
    // With an upstream, the local store must be able to keep copies.
    const readOnlyReason = upstream === undefined ? readOnlyReasonOf(error) : undefined;
    const served = readOnlyReason === undefined ? undefined : await open(true).catch(() => undefined);
    if (served === undefined) throw error;
    return { ...served, readOnlyReason };
  }
}

const UNWRITABLE = new Set(['EACCES', 'EPERM', 'EROFS']);

/** Returns why a store cannot be opened for writing, or undefined if the error has another reason. */
export function readOnlyReasonOf(error: unknown): string | undefined {
  const code = errnoCode(error);
  if (code === 'ERR_HOTBLOB_LOCKED') return 'another process writes to it';
  if (code === 'ERR_HOTBLOB_STORAGE_FULL') return 'the file system is full';
  const cause = error instanceof Error ? error.cause : undefined;
  return UNWRITABLE.has(errnoCode(cause) ?? '') ? messageOf(cause) : undefined;
}

/** Returns the kind of store that `hotblob serve` uses for `dir` if the user does not choose one. */
export async function detectKind(dir: string, immutable: boolean | undefined): Promise<StoreKind> {
  if (await holdsSegmentStore(dir)) return 'segments';
  // A directory that contains files stays a directory store, and `immutable` applies only to a directory store.
  return (await isNew(dir)) && immutable === undefined && hasLmdb() ? 'segments' : 'directory';
}

async function isNew(dir: string): Promise<boolean> {
  try {
    return (await readdir(dir)).every((name) => name === LOST_AND_FOUND);
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
