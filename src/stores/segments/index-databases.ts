import type { Database, RootDatabase } from 'lmdb';
import type { Permissions } from '../../util/permissions.js';
import { corruptError } from './errors.js';
import { loadLmdb, withMode } from './lmdb.js';

export interface SegmentIndexOptions {
  readonly readOnly: boolean;
  /** Whether a commit is on the disk when its promise resolves. */
  readonly durable: boolean;
  readonly permissions: Permissions;
}

/** The LMDB environment of an index and its databases. */
export interface IndexDatabases {
  readonly root: RootDatabase<Buffer, Uint8Array>;
  /** Index entries by artifact key. */
  readonly entries: Database<Buffer, string>;
  /** Artifact keys by location of the body. */
  readonly locations: Database<Buffer, Uint8Array>;
  /** `SegmentCounts` by segment id. Also contains the groups of segments, and the next segment id. */
  readonly segments: Database<Buffer, Uint8Array>;
  /** Last uses by artifact key. Undefined for a reader of an index that an earlier version has written. */
  readonly uses: Database<Buffer, string> | undefined;
}

/**
 * Opens the databases of an index.
 *
 * @throws HotblobError `ERR_HOTBLOB_CORRUPT` if LMDB cannot open the file or a database is missing
 */
export function openDatabases(path: string, { readOnly, durable, permissions }: SegmentIndexOptions): IndexDatabases {
  const { open } = loadLmdb();
  try {
    const root = open<Buffer, Uint8Array>({
      ...withMode(permissions),
      path,
      noSubdir: true,
      readOnly,
      maxDbs: 4,
      // With overlapping syncs, a commit would be visible before it is on the disk, and a power failure could undo it.
      overlappingSync: false,
      noSync: !durable && !readOnly,
      eventTurnBatching: false,
      encoding: 'binary',
      keyEncoding: 'binary',
    });
    const openIfExists = <K extends string | Uint8Array>(name: string, keyEncoding: 'ordered-binary' | 'binary') => {
      // The types of lmdb are incomplete: for a reader, the result is undefined if no writer has created the database
      // yet.
      const database: Database<Buffer, K> | undefined = root.openDB<Buffer, K>(name, {
        encoding: 'binary',
        keyEncoding,
      });
      return database;
    };
    const openDatabase = <K extends string | Uint8Array>(name: string, keyEncoding: 'ordered-binary' | 'binary') => {
      const database = openIfExists<K>(name, keyEncoding);
      if (database === undefined) throw new Error(`missing database '${name}'`);
      return database;
    };
    // The names are part of the format on the disk.
    return {
      root,
      entries: openDatabase<string>('keys', 'ordered-binary'),
      locations: openDatabase<Uint8Array>('places', 'binary'),
      segments: openDatabase<Uint8Array>('segments', 'binary'),
      uses: openIfExists<string>('uses', 'ordered-binary'),
    };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    // Such an error comes from the system: the file is inaccessible, not corrupt.
    if (/ENOENT|No such file|EACCES|Permission|ENOSPC|space/i.test(reason)) throw cause;
    throw corruptError(path, `cannot open the index (${reason})`, cause);
  }
}
