import type { Readable } from 'node:stream';
import type { HistogramSnapshot } from '../util/histogram.js';
import type { Artifact, UploadMetadata } from './artifact.js';
import { HotblobError } from './errors.js';
import type { PurgeFilter, PurgeOptions, PurgeResult } from './purge.js';

/**
 * Options that the handler passes to {@link Store.get}. The stores of this package can also be called without options.
 */
export interface GetOptions {
  /** Aborts when the client disconnects. */
  readonly signal: AbortSignal;
}

/**
 * Options that the handler passes to {@link Store.put}. The stores of this package can also be called without options.
 */
export interface PutOptions {
  /** Aborts when the client disconnects. */
  readonly signal: AbortSignal;
  /**
   * Length in bytes that the client announced; undefined for a chunked upload. If the body has another length, the store must
   * reject.
   */
  readonly size?: number | undefined;
  /**
   * Metadata that `get` returns with the artifact, until the next upload replaces it. A store that cannot store
   * metadata may drop it.
   */
  readonly metadata?: UploadMetadata | undefined;
  /**
   * Whether the upload is stored only if the key has no artifact when the upload is committed. If the key has one, the
   * store rejects with `ERR_HOTBLOB_EXISTS` and changes nothing. Of several concurrent uploads with `ifAbsent`, only
   * one succeeds. The handler sets this option for `If-None-Match: *`, after it has looked up the key itself. Default:
   * false.
   */
  readonly ifAbsent?: boolean | undefined;
}

/** Result of an upload. */
export interface PutResult {
  /** Whether the key had no artifact before; undefined if the store cannot tell. */
  readonly created?: boolean | undefined;
  /** Entity tag of the new artifact, as in `ArtifactMetadata.etag`. */
  readonly etag?: string | undefined;
}

/**
 * Storage backend. A store that has only `get` is read-only.
 *
 * The handler validates keys with {@link assertKey} before it calls a store.
 */
export interface Store {
  /**
   * Returns the artifact under `key`, or undefined for a miss. A synchronous result is faster, because the handler then
   * creates no promise. Several lookups may return the same object, so the caller must not modify it or its bytes.
   */
  get(key: string, options: GetOptions): Artifact | undefined | Promise<Artifact | undefined>;
  /**
   * Stores `body` under `key` and replaces the previous artifact. Resolves when `get` returns the new artifact. If
   * `body` fails or `signal` is aborted, the method must reject and discard the upload. `body` can fail after its last byte,
   * for example because of a wrong digest. Optional: without `put`,
   * uploads are answered with 405.
   */
  put?(key: string, body: Readable, options: PutOptions): Promise<PutResult>;
  /**
   * Deletes the artifact under `key`. Resolves to whether there was one. Optional: without `delete`, DELETE is answered
   * with 405.
   */
  delete?(key: string): Promise<boolean>;
  /**
   * Lists every artifact, in any order, without reading bodies. Artifacts that change during the iteration may be
   * missing. A listing does not count as a use for eviction. Optional: without `list`, the dashboard shows no
   * artifacts.
   */
  list?(options?: ListOptions): AsyncIterable<StoreEntry>;
  /**
   * Deletes all artifacts that match `filter`, except those that are uploaded or used meanwhile and no longer match then. Does not
   * interrupt downloads. If the purge fails or is stopped, what it has deleted stays deleted. Optional: only operators
   * and applications call it.
   *
   * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown or invalid member of `filter` or `options`
   */
  purge?(filter: PurgeFilter, options?: PurgeOptions): Promise<PurgeResult>;
  /** Returns statistics. Must not do I/O. */
  stats?(): StoreStats;
  /** Releases the resources of the store. The owner of the store calls it, never the handler. */
  close?(): Promise<void>;
}

/** Store that can be written and closed: it has `put`, `delete` and `close`. */
export type ReadWriteStore = Store & Required<Pick<Store, 'put' | 'delete' | 'close'>>;

/** Options of {@link Store.list}. */
export interface ListOptions {
  /**
   * Whether the artifacts should have the metadata of their uploads. A store that would have to read it for each artifact returns
   * it only then, and any store may omit it. Default: false.
   */
  readonly metadata?: boolean | undefined;
  /** Lists only the artifact under this key, if there is one. A store may ignore the option and list all. Default: all artifacts. */
  readonly key?: string | undefined;
}

/** Artifact in a listing. See {@link Store.list}. */
export interface StoreEntry {
  /** Key under which `get` finds the artifact. */
  readonly key: string;
  /** Artifact, as `get` returns it. The metadata of its upload may be missing. */
  readonly artifact: Artifact;
  /** Size of the artifact in bytes. */
  readonly size: number;
  /** Time of the last use or upload in milliseconds since 1970; 0 if unknown. */
  readonly usedAt: number;
}

/** Statistics of a store. Counters start when the store is opened. A store omits the fields that it does not know. */
export interface StoreStats {
  /** Number of artifacts. */
  readonly artifacts?: number | undefined;
  /** Number of bytes that count towards `maxBytes`. */
  readonly bytes?: number | undefined;
  /** Size limit in bytes. */
  readonly maxBytes?: number | undefined;
  /** Number of artifacts evicted, also those that expired. */
  readonly evicted?: number | undefined;
  /** Number of artifacts that expired: they were not used for the `maxAgeMs` of a rule of `retain`. */
  readonly expired?: number | undefined;
  /** Number of corrupt artifacts found. They are misses until an upload replaces them. */
  readonly corrupt?: number | undefined;
  /** State of the circuit breaker in front of a remote store. `closed`: requests are sent to the remote store. */
  readonly remote?: 'closed' | 'open' | 'half-open' | undefined;
  /** Number of downloads from the remote store in flight. */
  readonly flights?: number | undefined;
  /** Number of cached misses of the remote store. */
  readonly rememberedMisses?: number | undefined;
  /** Number of keys in the replication queue. */
  readonly queued?: number | undefined;
  /** Number of keys dropped because the replication queue was full. */
  readonly dropped?: number | undefined;
  /** Number of uploads that only the local store got, because the remote store failed, refused them or was not asked. */
  readonly unreplicated?: number | undefined;
  /**
   * Counts of the requests to an upstream cache. Requests whose client disconnected before the response are not
   * counted.
   */
  readonly requests?: readonly UpstreamCount[] | undefined;
  /**
   * Distribution of the times from a request to the response headers of the upstream cache. Requests with a body are
   * not included.
   */
  readonly latency?: HistogramSnapshot | undefined;
}

/** Number of requests to an upstream cache with the same operation and outcome. */
export interface UpstreamCount {
  /** Requested operation. */
  readonly operation: 'get' | 'put' | 'delete';
  /**
   * `ok`: success. `missing`: the upstream cache has no artifact under the key. `failed`: there was no response, or it
   * had any other status.
   */
  readonly outcome: 'ok' | 'missing' | 'failed';
  /** Number of requests. */
  readonly count: number;
}

/** Maximum length of a key in bytes of UTF-8. */
export const MAX_KEY_BYTES = 1024;

// biome-ignore lint/suspicious/noControlCharactersInRegex: the expression rejects control characters
const FORBIDDEN = /[\u0000-\u001f\u007f\\]|(?:^|\/)\.{0,2}(?:\/|$)/;

/**
 * Validates a key. A key is one or more segments joined by `/`. A segment is not empty, is neither `.` nor `..`, and
 * contains no control character and no backslash. A key has at most 1,024 bytes of UTF-8.
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
      'key: expected segments joined by "/"; a segment must not be empty, "." or "..", nor contain control characters or backslashes',
    );
  }
}

/** Returns whether `name` is a valid key. See {@link assertKey}. */
export function isKey(name: string): boolean {
  return !isTooLong(name) && !FORBIDDEN.test(name);
}

function isTooLong(key: string): boolean {
  // A UTF-16 code unit takes at most three bytes of UTF-8, so the bytes of a short key do not have to be counted.
  return key.length * 3 > MAX_KEY_BYTES && Buffer.byteLength(key) > MAX_KEY_BYTES;
}

const SURROGATE = /\p{Surrogate}/u;

/**
 * Validates that a key can be encoded in UTF-8. A lone surrogate cannot: two different keys would have the same encoding.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_KEY`
 */
export function assertEncodable(key: string): void {
  if (!SURROGATE.test(key)) return;
  throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'key: expected well-formed Unicode, received a lone surrogate');
}
