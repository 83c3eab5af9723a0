import { Readable } from 'node:stream';
import type { ByteRange, StreamArtifact } from '../../contract/artifact.js';
import { HotblobError } from '../../contract/errors.js';
import {
  assertEncodable,
  assertKey,
  type GetOptions,
  MAX_KEY_BYTES,
  type PutOptions,
  type PutResult,
  type ReadWriteStore,
  type StoreStats,
} from '../../contract/store.js';
import { neverAborted } from '../../util/never-aborted.js';
import { discard } from '../body.js';
import { Bucket, type ObjectInfo } from './bucket.js';
import { ByteBudget } from './byte-budget.js';
import { type BodyOrigin, ObjectBody } from './object-body.js';
import { type S3Settings, type S3StoreOptions, s3SettingsOf } from './options.js';
import { loadSdk, type Sdk } from './sdk.js';
import { upload } from './upload.js';

/** Store that keeps its artifacts as objects in a bucket. Created by {@link s3Store}. */
export interface S3Store extends ReadWriteStore {
  /** Returns the artifact under `key` with the entity tag of S3, or undefined for a miss. */
  get(key: string, options?: Partial<GetOptions>): Promise<StreamArtifact | undefined>;
  put(key: string, body: Readable, options?: Partial<PutOptions>): Promise<PutResult>;
  /**
   * Returns counts of the requests to S3. The download of a large artifact takes several requests, and so does a
   * deletion.
   */
  stats(): StoreStats;
}

/**
 * Creates a store over a bucket of S3, or of a service that implements the S3 API. The name of an object is the prefix
 * followed by the key. Requires the package `@aws-sdk/client-s3`. The store sends no request until it is used.
 *
 * Reads: `get` requests the first bytes of an object and receives its size, entity tag and metadata with them. A small
 * artifact is then complete. For a larger artifact, `open` requests the rest and resolves when the response has
 * started. If the object was replaced in the meantime, `open` rejects. A download whose connection is reset or stalls
 * resumes at the same position.
 *
 * Writes: a body larger than `partBytes` is sent as a multipart upload. A failed upload leaves nothing behind. A
 * successful upload replaces the object atomically, as S3 guarantees. `created` and the result of `delete` come from a
 * HEAD request that is sent first, so two concurrent writers may get the same result.
 *
 * After all attempts have failed, methods reject with `ERR_HOTBLOB_UPSTREAM_DENIED` (credentials or policy),
 * `ERR_HOTBLOB_OVERLOADED` (S3 throttles requests), `ERR_HOTBLOB_UPSTREAM_TIMEOUT`, or `ERR_HOTBLOB_UPSTREAM` for other
 * failures. After `close()` they reject with `ERR_HOTBLOB_CLOSED`.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an invalid option, or if the package cannot be loaded
 */
export async function s3Store(options: S3StoreOptions): Promise<S3Store> {
  const sdk = await loadSdk();
  return new BucketStore(sdk, s3SettingsOf(options, sdk));
}

class BucketStore implements S3Store {
  readonly #settings: S3Settings;
  readonly #bucket: Bucket;
  readonly #budget: ByteBudget;
  readonly #uploads = new Set<Promise<unknown>>();
  #isClosed = false;

  constructor(sdk: Sdk, settings: S3Settings) {
    this.#settings = settings;
    this.#bucket = new Bucket(sdk, settings.client, settings.bucket);
    this.#budget = new ByteBudget(settings.uploadBytes, settings.partBytes);
  }

  async get(key: string, options: Partial<GetOptions> = {}): Promise<StreamArtifact | undefined> {
    const name = this.#objectName(key);
    const { signal = neverAborted() } = options;
    const found = await this.#lookUp(name, signal);
    if (found === undefined) return undefined;
    const { info, firstBytes } = found;
    return {
      ...info,
      kind: 'stream',
      open: (range, { signal: openSignal }) => this.#open(name, info, firstBytes, range, openSignal),
    };
  }

  async put(key: string, body: Readable, options: Partial<PutOptions> = {}): Promise<PutResult> {
    try {
      const name = this.#objectName(key);
      const { signal = neverAborted(), size, metadata, ifAbsent } = options;
      signal.throwIfAborted();
      const { partBytes, requestTimeoutMs: timeoutMs } = this.#settings;
      const limits = { partBytes, timeoutMs, budget: this.#budget };
      const running = upload(this.#bucket, name, body, { signal, size, metadata, ifAbsent }, limits);
      this.#uploads.add(running);
      return await running.finally(() => this.#uploads.delete(running));
    } catch (error) {
      discard(body);
      throw error;
    }
  }

  async delete(key: string): Promise<boolean> {
    const name = this.#objectName(key);
    if ((await this.#bucket.head(name)) === undefined) return false;
    await this.#bucket.delete(name);
    return true;
  }

  stats(): StoreStats {
    return this.#bucket.stats();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.allSettled(this.#uploads);
    if (this.#settings.ownsClient) this.#settings.client.destroy();
  }

  /** Returns the object name for a key. Throws for an invalid key and if the store has been closed. */
  #objectName(key: string): string {
    if (this.#isClosed) throw new HotblobError('ERR_HOTBLOB_CLOSED', 'the S3 store has been closed');
    assertKey(key);
    const name = this.#settings.prefix + key;
    const bytes = Buffer.byteLength(name);
    // S3 has the same limit as hotblob, but counts the prefix.
    if (bytes > MAX_KEY_BYTES) {
      const message = `key: expected at most ${MAX_KEY_BYTES} bytes including the prefix, received ${bytes}`;
      throw new HotblobError('ERR_HOTBLOB_KEY_TOO_LONG', message);
    }
    assertEncodable(key);
    return name;
  }

  /** Requests the information and the first bytes of an object. */
  async #lookUp(
    name: string,
    signal: AbortSignal,
  ): Promise<{ readonly info: ObjectInfo; readonly firstBytes: Buffer } | undefined> {
    const end = this.#settings.firstBytes;
    const response = end === 0 ? 'outOfRange' : await this.#bucket.read(name, { start: 0, end }, signal);
    if (response === undefined) return undefined;
    // If a range of an empty object is requested, S3 responds 416 without the metadata of the object.
    if (response === 'outOfRange') {
      const info = await this.#bucket.head(name, signal);
      return info && { info, firstBytes: EMPTY };
    }
    const { info, body, range } = response;
    if (range.start !== 0 || range.end > end || range.end === 0) {
      // The object is empty, or the service ignores ranges. In both cases, `open` requests the body and checks its
      // range.
      discard(body);
      return { info, firstBytes: EMPTY };
    }
    const origin = await this.#createOrigin(name, info, range, signal);
    const chunks: Buffer[] = [];
    for await (const chunk of new ObjectBody(origin, body, range.end)) chunks.push(chunk);
    return { info, firstBytes: Buffer.concat(chunks) };
  }

  async #open(
    name: string,
    info: ObjectInfo,
    firstBytes: Buffer,
    range: ByteRange | undefined,
    signal: AbortSignal,
  ): Promise<Readable> {
    const { start, end } = range ?? { start: 0, end: info.size };
    const available = firstBytes.subarray(start, end);
    if (available.byteLength === end - start) return Readable.from(available.byteLength === 0 ? [] : [available]);
    const rest = { start: start + available.byteLength, end };
    const origin = await this.#createOrigin(name, info, rest, signal);
    // The response is awaited, so that a failure is reported before the handler sends headers. Once the response has
    // started, S3 sends this version to its end, even if the object is replaced or deleted.
    return new ObjectBody(origin, await origin.reopen(0), end - rest.start, available);
  }

  async #createOrigin(name: string, info: ObjectInfo, range: ByteRange, signal: AbortSignal): Promise<BodyOrigin> {
    return {
      action: `reading from the bucket '${this.#settings.bucket}'`,
      maxAttempts: await this.#bucket.maxAttempts(),
      timeoutMs: this.#settings.requestTimeoutMs,
      signal,
      reopen: (received) => this.#bucket.readVersion(name, { ...range, start: range.start + received }, info, signal),
    };
  }
}

const EMPTY = Buffer.alloc(0);
