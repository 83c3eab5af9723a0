import type { Readable } from 'node:stream';
import type { Artifact, UploadMetadata } from './artifact.js';
import { HotblobError } from './errors.js';

/** What comes with a key that is asked for. */
export interface GetOptions {
  /** Aborted when the client has gone. */
  readonly signal: AbortSignal;
}

/** What comes with an upload. */
export interface PutOptions {
  /** Aborted when the client has gone. */
  readonly signal: AbortSignal;
  /** The length that the client announced, in bytes; undefined for a chunked upload. A body of another length is to be refused. */
  readonly size?: number | undefined;
  /** What comes back with the artifact; the next upload replaces it. A store that cannot keep it may leave it out. */
  readonly metadata?: UploadMetadata | undefined;
}

/** What has become of an upload. */
export interface PutResult {
  /** Whether the key was free before. */
  readonly created: boolean;
  /** The new entity tag, as in {@link Artifact}. */
  readonly etag?: string | undefined;
}

/**
 * What a backend implements: `get` alone makes a read-only one.
 *
 * Keys are checked by the handler before a store sees them (see {@link assertKey}).
 */
export interface Store {
  /** The artifact under `key`, or undefined for a miss. May answer synchronously: the hot path does. */
  get(key: string, options: GetOptions): Artifact | undefined | Promise<Artifact | undefined>;
  /**
   * Keeps `body` under `key`, replacing what was there. Resolves once the artifact can be read back. When `body` fails
   * or `signal` aborts it rejects, and nothing of the upload stays. Absent in a read-only store: uploads then get 405.
   */
  put?(key: string, body: Readable, options: PutOptions): Promise<PutResult>;
  /** Resolves to whether there was something to delete. Absent: 405. */
  delete?(key: string): Promise<boolean>;
  /** Releases what the store holds. Called by whoever created the store. */
  close?(): Promise<void>;
}

/** Longest key, in bytes of UTF-8. */
export const MAX_KEY_BYTES = 1024;

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it refuses
const FORBIDDEN = /[\u0000-\u001f\u007f\\]|(?:^|\/)\.{0,2}(?:\/|$)/;

/**
 * Refuses what cannot be a key. A key is one or more segments joined by `/`: no segment is empty, `.` or `..`, and none
 * holds a control character or a backslash; 1,024 bytes of UTF-8 at most.
 *
 * @throws HotblobError `ERR_HOTBLOB_KEY_TOO_LONG` or `ERR_HOTBLOB_INVALID_KEY`
 */
export function assertKey(key: string): void {
  // No character takes more than three bytes per UTF-16 unit, so that short keys need no count.
  if (key.length * 3 > MAX_KEY_BYTES && Buffer.byteLength(key) > MAX_KEY_BYTES) {
    throw new HotblobError('ERR_HOTBLOB_KEY_TOO_LONG', `a key has at most ${MAX_KEY_BYTES} bytes`);
  }
  if (FORBIDDEN.test(key)) {
    throw new HotblobError(
      'ERR_HOTBLOB_INVALID_KEY',
      'a key is one or more segments joined by "/", none of them empty, "." or "..", without control characters and "\\"',
    );
  }
}
