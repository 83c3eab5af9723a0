import type { Readable } from 'node:stream';
import type { HistogramSnapshot } from '../util/histogram.js';
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
  /**
   * Everything that is kept, in any order, as far as it can be told without reading bodies; what changes meanwhile may be
   * told or not. Counts as no use. Absent: nobody can look at the store as a whole.
   */
  list?(): AsyncIterable<StoreEntry>;
  /** What the store knows about itself. Answers at once, from memory. */
  stats?(): StoreStats;
  /** Releases what the store holds. Called by whoever created the store. */
  close?(): Promise<void>;
}

/** A store that takes every request, and that is to be closed. */
export type ReadWriteStore = Store & Required<Pick<Store, 'put' | 'delete' | 'close'>>;

/** An artifact, as {@link Store.list} tells of it. */
export interface StoreEntry {
  /** What `get` finds it by. */
  readonly key: string;
  /** As `get` hands it back, perhaps without what its upload has said about it. */
  readonly artifact: Artifact;
  /** Bytes of the artifact. */
  readonly size: number;
  /** When it was last used, or put, as far as the store knows: in milliseconds since 1970; 0 where it does not. */
  readonly usedAt: number;
}

/** What a store knows about itself, each as far as it does. Counts are since the store was opened. */
export interface StoreStats {
  /** Artifacts kept. */
  readonly artifacts?: number | undefined;
  /** Bytes that count against `maxBytes`. */
  readonly bytes?: number | undefined;
  /** What the store may hold, in bytes. */
  readonly maxBytes?: number | undefined;
  /** Artifacts that have made room for others. */
  readonly evicted?: number | undefined;
  /** Of a store in front of another one: whether that one is asked (`closed`), left alone (`open`), or tried again. */
  readonly remote?: 'closed' | 'open' | 'half-open' | undefined;
  /** Artifacts that come in from it. */
  readonly flights?: number | undefined;
  /** Misses of it that are remembered. */
  readonly rememberedMisses?: number | undefined;
  /** Keys that wait for it. */
  readonly queued?: number | undefined;
  /** Keys that it will not get, because too many have waited. */
  readonly dropped?: number | undefined;
  /** What another cache was asked; requests whose clients have left before an answer are none of them. */
  readonly requests?: readonly UpstreamCount[] | undefined;
  /** From a request without a body to another cache to the head of its answer. */
  readonly latency?: HistogramSnapshot | undefined;
}

/** Requests to another cache that were alike. */
export interface UpstreamCount {
  /** What was asked. */
  readonly operation: 'get' | 'put' | 'delete';
  /** Found or done, nothing there, or neither: no answer, or another one. */
  readonly outcome: 'ok' | 'missing' | 'failed';
  /** How many. */
  readonly count: number;
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
  if (isTooLong(key)) {
    throw new HotblobError('ERR_HOTBLOB_KEY_TOO_LONG', `a key has at most ${MAX_KEY_BYTES} bytes`);
  }
  if (FORBIDDEN.test(key)) {
    throw new HotblobError(
      'ERR_HOTBLOB_INVALID_KEY',
      'a key is one or more segments joined by "/", none of them empty, "." or "..", without control characters and "\\"',
    );
  }
}

/** Whether {@link assertKey} takes it. */
export function isKey(name: string): boolean {
  return !isTooLong(name) && !FORBIDDEN.test(name);
}

function isTooLong(key: string): boolean {
  // No character takes more than three bytes per UTF-16 unit, so that short keys need no count.
  return key.length * 3 > MAX_KEY_BYTES && Buffer.byteLength(key) > MAX_KEY_BYTES;
}
