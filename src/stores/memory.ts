import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { BytesArtifact, UploadMetadata } from '../contract/artifact.js';
import { HotblobError } from '../contract/errors.js';
import type { PurgeFilter, PurgeOptions, PurgeResult } from '../contract/purge.js';
import {
  assertKey,
  type GetOptions,
  type ListOptions,
  type PutOptions,
  type PutResult,
  type ReadWriteStore,
  type StoreEntry,
  type StoreStats,
} from '../contract/store.js';
import { decodeMetadata, encodeMetadata } from '../contract/upload-metadata.js';
import { assertOptions, BYTES } from '../contract/validation.js';
import { pause } from '../util/loop-slices.js';
import { PeriodicTask } from '../util/periodic-task.js';
import { chunksOf, discard } from './body.js';
import { existsError } from './exists-error.js';
import { type Purge, Purges } from './purges.js';
import { expiryIntervalOf } from './retention/expiry-interval.js';
import { LruEntries, type LruEntry } from './retention/lru-entries.js';
import { RETAIN, type RetentionRule, RetentionRules } from './retention/rules.js';

/** Options of {@link memoryStore}. */
export interface MemoryStoreOptions {
  /**
   * Memory limit in bytes. It covers artifacts, uploads in flight and, for each artifact, its key, its metadata and 1 KiB of
   * overhead. Default: 64 MiB.
   */
  readonly maxBytes?: number | undefined;
  /** Limits for groups of artifacts, for example for each scope. Default: only `maxBytes`. */
  readonly retain?: readonly RetentionRule[] | undefined;
}

/** Store in the memory of this process. Implements every method of the contract; `get` is synchronous. */
export interface MemoryStore extends ReadWriteStore {
  /**
   * Returns the artifact under `key`, or undefined for a miss.
   *
   * @throws HotblobError `ERR_HOTBLOB_CLOSED` after `close()`
   */
  get(key: string, options?: Partial<GetOptions>): BytesArtifact | undefined;
  /** Stores `body` under `key`. Resolves when `get` returns the new artifact. */
  put(key: string, body: Readable, options?: Partial<PutOptions>): Promise<PutResult>;
  /**
   * Lists all artifacts. `usedAt` is the time of the upload, because `get` does not read the clock: that would make it
   * 20 % slower. If a rule of `retain` has a `maxAgeMs`, `usedAt` is the time of the last use.
   */
  list(): AsyncIterable<StoreEntry>;
  /** Deletes the artifacts that match `filter`. `usedBefore` is compared with the time that {@link list} returns as `usedAt`. */
  purge(filter: PurgeFilter, options?: PurgeOptions): Promise<PurgeResult>;
  /** Returns the number of artifacts, the bytes in use, the limit, and the numbers of evicted and expired artifacts. */
  stats(): StoreStats;
}

const DEFAULT_MAX_BYTES = 64 * 1024 * 1024;
/**
 * Memory that an artifact uses in addition to its bytes. It counts against `maxBytes`. Measured: 550 to 650 bytes of
 * heap and 1.1 KiB of resident memory. If it did not count, the number of empty artifacts would have no limit.
 */
const OVERHEAD_BYTES = 1024;
/** Number of entries that `list` yields in one turn of the event loop. */
const ENTRIES_PER_TURN = 1000;
/** Length of an entity tag in base64url: 132 bits, enough to rule out accidental collisions. */
const ETAG_CHARACTERS = 22;

/**
 * Creates a store in the memory of this process. When it is full, it evicts the artifact that was used longest ago.
 *
 * Uploads in flight count against the limit and can evict artifacts, even if the upload fails later. If uploads in
 * flight alone fill the store, an upload that receives another chunk is rejected with `ERR_HOTBLOB_OVERLOADED`. When an
 * upload is complete, its chunks are joined; for this moment, its bytes are in memory twice.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 */
export function memoryStore(options: MemoryStoreOptions = {}): MemoryStore {
  assertOptions(options, { maxBytes: BYTES, retain: RETAIN });
  const maxBytes = options.maxBytes ?? DEFAULT_MAX_BYTES;
  return new LruMemoryStore(maxBytes, new RetentionRules(options.retain, maxBytes));
}

class LruMemoryStore implements MemoryStore {
  readonly #entries: LruEntries<BytesArtifact>;
  readonly #expiry: PeriodicTask | undefined;
  readonly #purges = new Purges({ list: () => this.list(), purge: (purge) => this.#purge(purge) });
  #isClosed = false;

  constructor(maxBytes: number, rules: RetentionRules) {
    const entries = new LruEntries<BytesArtifact>(maxBytes, rules);
    this.#entries = entries;
    if (rules.minAgeMs === undefined) return;
    this.#expiry = new PeriodicTask(expiryIntervalOf(rules.minAgeMs), () => entries.expire());
  }

  get(key: string): BytesArtifact | undefined {
    this.#assertOpen();
    return this.#entries.use(key);
  }

  async put(key: string, body: Readable, options: Partial<PutOptions> = {}): Promise<PutResult> {
    try {
      assertKey(key);
      this.#assertOpen();
      return await this.#put(key, body, options);
    } catch (error) {
      discard(body);
      throw error;
    }
  }

  async #put(key: string, body: Readable, options: Partial<PutOptions>): Promise<PutResult> {
    const chunks: Uint8Array[] = [];
    const hash = createHash('sha256');
    const group = this.#entries.groupOf(key);
    let reservedBytes = 0;
    let metadata: UploadMetadata | undefined;
    const reserve = (bytes: number): void => {
      this.#entries.reserve(bytes, group);
      reservedBytes += bytes;
    };
    try {
      const encoded = encodeMetadata(options.metadata);
      metadata = encoded && decodeMetadata(encoded);
      const overhead = overheadOf(key, encoded);
      const maxBytes = Math.min(this.#entries.maxBytes, group.limits.maxBytes);
      for await (const chunk of chunksOf(body, options, maxBytes - overhead)) {
        reserve(chunk.byteLength);
        hash.update(chunk);
        chunks.push(chunk);
      }
      this.#assertOpen();
      // From here to the insertion, nothing is awaited.
      if (options.ifAbsent && this.#entries.has(key)) throw existsError();
      reserve(overhead);
    } catch (error) {
      this.#entries.release(reservedBytes, group);
      throw error;
    }
    const created = !this.#entries.remove(key);
    const etag = `"${hash.digest('base64url').slice(0, ETAG_CHARACTERS)}"`;
    const bytes = Buffer.concat(chunks);
    const artifact: BytesArtifact = { kind: 'bytes', bytes, etag, lastModified: new Date(), ...metadata };
    this.#entries.add(key, artifact, group, reservedBytes);
    return { created, etag };
  }

  async delete(key: string): Promise<boolean> {
    this.#assertOpen();
    return this.#entries.remove(key);
  }

  async *list({ key: only }: ListOptions = {}): AsyncGenerator<StoreEntry> {
    this.#assertOpen();
    let left = ENTRIES_PER_TURN;
    // Iterates over a copy of the keys: `get` moves a key to the end of the map, so iterating over the map might never end.
    for (const key of only === undefined ? [...this.#entries.keys()] : [only]) {
      if (left-- === 0) {
        await nextTurn();
        left = ENTRIES_PER_TURN;
      }
      this.#assertOpen();
      const entry = this.#entries.peek(key);
      if (entry === undefined) continue;
      const { artifact } = entry;
      yield { key, artifact, size: artifact.bytes.byteLength, usedAt: lastUseOf(entry) };
    }
  }

  async purge(filter: PurgeFilter, options?: PurgeOptions): Promise<PurgeResult> {
    this.#assertOpen();
    return this.#purges.run(filter, options);
  }

  async #purge(purge: Purge): Promise<void> {
    for (const key of [...this.#entries.keys()]) {
      this.#assertOpen();
      const entry = this.#entries.peek(key);
      if (entry === undefined) continue;
      purge.examine(1);
      if (purge.matches({ key, usedAt: lastUseOf(entry) }) && this.#entries.remove(key)) {
        purge.count(entry.artifact.bytes.byteLength);
      }
      await pause();
    }
  }

  stats(): StoreStats {
    const { size: artifacts, usedBytes: bytes, maxBytes, evicted, expired } = this.#entries;
    return { artifacts, bytes, maxBytes, evicted, ...(expired !== undefined && { expired }) };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#expiry?.stop();
    for (const key of this.#entries.keys()) this.#entries.remove(key);
  }

  #assertOpen(): void {
    if (this.#isClosed) throw new HotblobError('ERR_HOTBLOB_CLOSED', 'the memory store is closed');
  }
}

/** Returns the time of the last use of an entry in milliseconds since 1970. */
function lastUseOf({ usedAt }: LruEntry<unknown>): number {
  return Date.now() - Math.round(performance.now() - usedAt);
}

function overheadOf(key: string, metadata: Uint8Array | undefined): number {
  // Key and metadata count twice, because V8 stores a character in one or two bytes.
  return OVERHEAD_BYTES + 2 * (key.length + (metadata?.byteLength ?? 0));
}
