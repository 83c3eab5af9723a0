import { join } from 'node:path';
import { invalidOption, OBJECT } from '../../contract/validation.js';
import { createDirectory } from '../../util/create-directory.js';
import { type Permissions, permissionsFor } from '../../util/permissions.js';
import { openDirectory } from '../directory/open-directory.js';
import { assertDirectoryOptions } from '../directory/options.js';
import { RESERVED_NAME, SHARED_LOCK_NAME } from '../directory/paths.js';
import { type DirectoryStoreOptions, directoryStore } from '../directory/store.js';
import { createLayout } from '../segments/layout.js';
import { loadLmdb } from '../segments/lmdb.js';
import { assertSegmentOptions } from '../segments/options.js';
import { type SegmentStoreOptions, segmentStore } from '../segments/store.js';
import { WriterLock } from '../segments/writer-lock.js';
import { ElectedStore, type SharedStore } from './elected-store.js';
import type { StoreAccess } from './store-access.js';

export type { SharedStore } from './elected-store.js';

/** Options of {@link sharedStore}: those of the store that the processes share. All processes pass the same options. */
export type SharedStoreOptions =
  | ({
      /** Kind of store: one file for each artifact, see `directoryStore`. */
      readonly kind: 'directory';
    } & Omit<DirectoryStoreOptions, 'readOnly'>)
  | ({
      /** Kind of store: a few large files, see `segmentStore`. */
      readonly kind: 'segments';
    } & Omit<SegmentStoreOptions, 'readOnly'>);

/**
 * Opens a store that several processes of one machine share, for example the workers of `node:cluster` or PM2. One of them
 * writes. The others send their uploads and deletions to it over a socket in the directory, and read the directory themselves.
 * If the writer ends, also if it is killed, another process becomes the writer.
 *
 * As soon as an upload has been acknowledged in any process, `get` returns the artifact in all of them. Reads in all processes
 * count for eviction. Requires the optional dependency `lmdb`.
 *
 * @throws HotblobError as `segmentStore` or `directoryStore`; `ERR_HOTBLOB_NO_LMDB` if the package `lmdb` is not available
 */
export async function sharedStore(dir: string, options: SharedStoreOptions): Promise<SharedStore> {
  if (typeof dir !== 'string' || dir === '') throw invalidOption('dir', 'the path of a directory', dir);
  if (!OBJECT.accepts(options)) throw invalidOption('options', "an object with the property 'kind'", options);
  if (options.kind !== 'directory' && options.kind !== 'segments') {
    throw invalidOption('kind', "'directory' or 'segments'", Object(options).kind);
  }
  // `readOnly` is not in the type, but the stores accept it.
  if ('readOnly' in options) throw invalidOption('readOnly', 'no such option for a shared store', options.readOnly);
  // The options are read before the first await, because the caller may change the object later.
  const permissions = permissionsFor(options.groupAccess);
  const { root, lockDirectory, ...openers } = await prepare(dir, { ...options }, permissions);
  const store = new ElectedStore(root, {
    ...openers,
    lock: (onConnection) => WriterLock.acquire(lockDirectory, permissions, { name: SHARED_LOCK_NAME, onConnection }),
    findWriter: () => WriterLock.findConnect(lockDirectory, SHARED_LOCK_NAME),
  });
  await store.start();
  return store;
}

/** Creates the directory, and returns the functions that open the store in it. */
async function prepare(dir: string, options: SharedStoreOptions, permissions: Permissions): Promise<Prepared> {
  loadLmdb();
  if (options.kind === 'segments') {
    const { kind, ...others } = options;
    assertSegmentOptions(others);
    const { root } = await createLayout(dir, permissions);
    return {
      root,
      lockDirectory: root,
      openWriter: () => segmentStore(root, others),
      openReader: () => segmentStore(root, { ...others, readOnly: true }),
    };
  }
  const { kind, ...others } = options;
  assertDirectoryOptions(others);
  const { root } = await openDirectory(dir, permissions, false);
  const lockDirectory = join(root, RESERVED_NAME);
  await createDirectory(lockDirectory, permissions.directory);
  return {
    root,
    lockDirectory,
    openWriter: () => directoryStore(root, others),
    openReader: () => directoryStore(root, { ...others, readOnly: true }),
  };
}

interface Prepared extends Pick<StoreAccess, 'openWriter' | 'openReader'> {
  readonly root: string;
  readonly lockDirectory: string;
}
