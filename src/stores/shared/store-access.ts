import type { Readable } from 'node:stream';
import type { Artifact } from '../../contract/artifact.js';
import type { PurgeFilter, PurgeOptions, PurgeResult } from '../../contract/purge.js';
import type { GetOptions, ListOptions, PutOptions, PutResult, StoreEntry, StoreStats } from '../../contract/store.js';
import type { Connect, ConnectionListener } from '../segments/writer-lock.js';

/** Store of a process that only reads. */
export interface ReadableStore {
  get(key: string, options?: Partial<GetOptions>): Artifact | undefined | Promise<Artifact | undefined>;
  list(options?: ListOptions): AsyncIterable<StoreEntry>;
  stats(): StoreStats;
  close(): Promise<void>;
}

/** Store of the process that writes. */
export interface WritableStore extends Pick<ReadableStore, 'get'> {
  put(key: string, body: Readable, options: Partial<PutOptions>): Promise<PutResult>;
  delete(key: string): Promise<boolean>;
  purge(filter: PurgeFilter, options?: PurgeOptions): Promise<PurgeResult>;
  stats(): StoreStats;
}

/** Lock of the writer. */
export interface Lock {
  release(): Promise<void>;
}

/** Access to the directory that processes share. */
export interface StoreAccess {
  openWriter(): Promise<ReadableStore & WritableStore>;
  openReader(): Promise<ReadableStore>;
  /**
   * Acquires the lock of the writer.
   *
   * @param onConnection receives the connections of other processes
   * @throws HotblobError `ERR_HOTBLOB_LOCKED` if another process holds it
   */
  lock(onConnection: ConnectionListener): Promise<Lock>;
  /** Returns a function that connects to the holder of the lock, or undefined if no holder is recorded. */
  findWriter(): Promise<Connect | undefined>;
}
