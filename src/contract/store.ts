import type { Readable } from 'node:stream';
import type { HistogramSnapshot } from '../util/histogram.js';
import type { Artifact, UploadMetadata } from './artifact.js';
import { HotblobError } from './errors.js';

/** Options that the handler passes to {@link Store.get}. The stores of this package accept calls without them. */
export interface GetOptions {
  /** Aborts when the client disconnects. */
  readonly signal: AbortSignal;
}

/** Options that the handler passes to {@link Store.put}. The stores of this package accept calls without them. */
export interface PutOptions {
  /** Aborts when the client disconnects. */
  readonly signal: AbortSignal;
  /**
   * Length in bytes that the client announced; undefined for a chunked upload. If the body has another length, the store must
   * reject.
   */
  readonly size?: number | undefined;
  /** Metadata to return with the artifact, until the next upload replaces it. A store that cannot keep it may drop it. */
  readonly metadata?: UploadMetadata | undefined;
  /**
   * Stores the upload only if the key has no artifact when the upload is committed. Otherwise the store rejects with
   * `ERR_HOTBLOB_EXISTS` and changes nothing: of several concurrent uploads with `ifAbsent`, one succeeds. The handler sets it for
   * `If-None-Match: *`, after it has looked for the key itself. Default: false.
   */
  readonly ifAbsent?: boolean | undefined;
}

/** Result of an upload. */
export interface PutResult {
  /** Whether the key had no artifact before. */
  readonly created: boolean;
  /** New entity tag, as in {@link ArtifactMetadata.etag}. */
  readonly etag?: string | undefined;
}

/**
 * Storage backend. `get` alone makes a read-only store.
 *
 * The handler validates keys with {@link assertKey} before it calls a store.
 */
export interface Store {
  /**
   * Returns the artifact under `key`, or undefined for a miss. A synchronous result is faster: the handler then creates no promise.
   */
  get(key: string, options: GetOptions): Artifact | undefined | Promise<Artifact | undefined>;
  /**
   * Stores `body` under `key` and replaces the previous artifact. Resolves when `get` returns the new artifact. If `body` fails or
   * `signal` aborts, it must reject and discard the upload. Default: none; uploads are answered with 405.
   */
  put?(key: string, body: Readable, options: PutOptions): Promise<PutResult>;
  /** Deletes the artifact under `key`. Resolves to whether there was one. Default: none; DELETE is answered with 405. */
  delete?(key: string): Promise<boolean>;
  /**
   * Lists every artifact, in any order, without reading bodies. Artifacts that change during the iteration may be missing. Does not
   * count as a use for eviction. Default: none; the dashboard then shows no artifacts.
   */
  list?(): AsyncIterable<StoreEntry>;
  /** Returns statistics from memory, without I/O. */
  stats?(): StoreStats;
  /** Releases the resources of the store. Called by its owner, never by the handler. */
  close?(): Promise<void>;
}

/** Store with every method that changes it, and `close`. */
export type ReadWriteStore = Store & Required<Pick<Store, 'put' | 'delete' | 'close'>>;

/** Artifact in a listing. See {@link Store.list}. */
export interface StoreEntry {
  /** Key that `get` finds the artifact under. */
  readonly key: string;
  /** Artifact as `get` returns it; the metadata of its upload may be missing. */
  readonly artifact: Artifact;
  /** Size of the artifact in bytes. */
  readonly size: number;
  /** Time of the last use or upload in milliseconds since 1970; 0 if unknown. */
  readonly usedAt: number;
}

/** Statistics of a store. Counters start when the store is opened. A store leaves out what it does not know. */
export interface StoreStats {
  /** Number of artifacts. */
  readonly artifacts?: number | undefined;
  /** Bytes that count towards `maxBytes`. */
  readonly bytes?: number | undefined;
  /** Size limit in bytes. */
  readonly maxBytes?: number | undefined;
  /** Number of artifacts evicted. */
  readonly evicted?: number | undefined;
  /** State of the circuit breaker in front of a remote store: `closed` means that the remote is used. */
  readonly remote?: 'closed' | 'open' | 'half-open' | undefined;
  /** Number of artifacts that are being fetched from the remote store. */
  readonly flights?: number | undefined;
  /** Number of cached misses of the remote store. */
  readonly rememberedMisses?: number | undefined;
  /** Number of keys in the replication queue. */
  readonly queued?: number | undefined;
  /** Number of keys dropped because the replication queue was full. */
  readonly dropped?: number | undefined;
  /** Requests to an upstream cache. Excludes those whose client disconnected before the response. */
  readonly requests?: readonly UpstreamCount[] | undefined;
  /** Time from a request without a body to the response headers of the upstream cache. */
  readonly latency?: HistogramSnapshot | undefined;
}

/** Number of requests to an upstream cache with the same operation and outcome. */
export interface UpstreamCount {
  /** Operation requested. */
  readonly operation: 'get' | 'put' | 'delete';
  /** `ok`: success. `missing`: no artifact under the key. `failed`: no response, or another one. */
  readonly outcome: 'ok' | 'missing' | 'failed';
  /** Number of requests. */
  readonly count: number;
}

/** Maximum length of a key in bytes of UTF-8. */
export const MAX_KEY_BYTES = 1024;

// biome-ignore lint/suspicious/noControlCharactersInRegex: the expression rejects control characters
const FORBIDDEN = /[\u0000-\u001f\u007f\\]|(?:^|\/)\.{0,2}(?:\/|$)/;

/**
 * Validates a key. A key is one or more segments joined by `/`. No segment is empty, `.` or `..`, and none contains a control
 * character or a backslash. A key has at most 1,024 bytes of UTF-8.
 *
 * @throws HotblobError `ERR_HOTBLOB_KEY_TOO_LONG` or `ERR_HOTBLOB_INVALID_KEY`
 */
export function assertKey(key: string): void {
  if (isTooLong(key)) {
    throw new HotblobError(
      'ERR_HOTBLOB_KEY_TOO_LONG',
      `key: expected at most ${MAX_KEY_BYTES} bytes, received ${Buffer.byteLength(key)}`,
    );
  }
  if (FORBIDDEN.test(key)) {
    throw new HotblobError(
      'ERR_HOTBLOB_INVALID_KEY',
      'key: expected segments joined by "/", none of them empty, "." or "..", without control characters and backslashes',
    );
  }
}

/** Whether `name` is a valid key. See {@link assertKey}. */
export function isKey(name: string): boolean {
  return !isTooLong(name) && !FORBIDDEN.test(name);
}

function isTooLong(key: string): boolean {
  // A UTF-16 code unit takes at most three bytes of UTF-8, so short keys need no count.
  return key.length * 3 > MAX_KEY_BYTES && Buffer.byteLength(key) > MAX_KEY_BYTES;
}
