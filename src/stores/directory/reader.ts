import type { Readable } from 'node:stream';
import type { FileArtifact } from '../../contract/artifact.js';
import type { PurgeFilter, PurgeOptions, PurgeResult } from '../../contract/purge.js';
import type {
  GetOptions,
  ListOptions,
  PutOptions,
  PutResult,
  Store,
  StoreEntry,
  StoreStats,
} from '../../contract/store.js';
import { holders } from '../../page-cache/release-file.js';
import { CORRUPT_ARTIFACTS, type CorruptArtifacts } from '../corrupt-artifacts.js';
import type { MetadataLookups } from './lookups.js';

/** Directory store that may be read-only. */
export interface DirectoryStoreReader extends Store {
  /** Whether files are served as immutable (see {@link FileArtifact.immutable}). */
  readonly immutable: boolean;
  /** Absolute path of the directory, without symbolic links. */
  readonly root: string;
  /**
   * Returns the artifact under `key` without checking whether its file exists: the handler opens the file. Returns the
   * artifact synchronously as long as no upload had metadata. After that, returns it synchronously only if the key was
   * compared with its file within the last second. An artifact whose metadata is corrupt is a miss, and is removed.
   *
   * @throws HotblobError `ERR_HOTBLOB_INVALID_KEY` or `ERR_HOTBLOB_KEY_TOO_LONG`
   * @throws HotblobError `ERR_HOTBLOB_CLOSED` after `close()`
   */
  get(key: string, options?: Partial<GetOptions>): FileArtifact | Promise<FileArtifact | undefined>;
  /**
   * Lists the files whose paths are valid keys. Symbolic links are not listed. With `metadata`, reads a file for each artifact.
   * `usedAt` is the latest of the modification time, the access time, the last use by this process, and the last use that
   * processes that write have recorded on the disk, which can be an hour old.
   */
  list(options?: ListOptions): AsyncIterable<StoreEntry>;
  /**
   * Returns statistics: the result of the last scan, plus the uploads and deletions of this process since then. Without
   * `maxBytes`, only the number of corrupt artifacts.
   */
  stats(): StoreStats;
  close(): Promise<void>;
}

/** Store whose artifacts are the files of a directory. */
export interface DirectoryStore extends DirectoryStoreReader {
  /** Stores `body` under `key`. Resolves when the file is in place and synced to disk. */
  put(key: string, body: Readable, options?: Partial<PutOptions>): Promise<PutResult>;
  delete(key: string): Promise<boolean>;
  /**
   * Deletes the files that match `filter`, also those of other processes. A file that is uploaded by another process in the moment of
   * its deletion may be deleted too.
   */
  purge(filter: PurgeFilter, options?: PurgeOptions): Promise<PurgeResult>;
  /**
   * Counts `bytes` of the application's files below `.hotblob` towards `maxBytes`; a negative number if they were deleted. Without
   * this call, they count from the next scan on.
   */
  countBytes(bytes: number): void;
}

/** Returns a view of a store without the methods that change it. Until `close`, its lookups are a holder of files. */
export function toReader(
  store: DirectoryStore & { readonly [CORRUPT_ARTIFACTS]: CorruptArtifacts },
  lookups: MetadataLookups,
): DirectoryStoreReader & { readonly [CORRUPT_ARTIFACTS]: CorruptArtifacts } {
  // The process that writes may report which files it replaces.
  holders.add(lookups);
  return {
    root: store.root,
    immutable: store.immutable,
    [CORRUPT_ARTIFACTS]: store[CORRUPT_ARTIFACTS],
    get: (key) => store.get(key),
    list: (options) => store.list(options),
    stats: () => store.stats(),
    close: () => {
      holders.delete(lookups);
      return store.close();
    },
  };
}
