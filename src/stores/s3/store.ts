import { Readable } from 'node:stream';
import type { ByteRange, StreamArtifact } from '../../contract/artifact.js';
import { HotblobError } from '../../contract/errors.js';
import {
  assertKey,
  type GetOptions,
  MAX_KEY_BYTES,
  type PutOptions,
  type PutResult,
  type ReadWriteStore,
  type StoreStats,
} from '../../contract/store.js';
import { discard } from '../body.js';
import { abandon, Bucket, type ObjectFacts } from './bucket.js';
import { ByteBudget } from './byte-budget.js';
import { type BodyOrigin, ObjectBody } from './object-body.js';
import { type S3Settings, type S3StoreOptions, s3SettingsOf } from './options.js';
import { loadSdk, type Sdk } from './sdk.js';
import { upload } from './upload.js';

/** A store whose artifacts are the objects of a bucket. */
export interface S3Store extends ReadWriteStore {
  /** The artifact under `key`, with S3's entity tag; undefined for a miss. */
  get(key: string, options?: GetOptions): Promise<StreamArtifact | undefined>;
  /** What the service was asked, request by request: a long body takes several, and so does a deletion. */
  stats(): StoreStats;
}

/**
 * A store over a bucket of S3, or of a service that speaks its protocol. A key is the name of the object, behind the
 * prefix. Needs the package `@aws-sdk/client-s3`. Asks the service nothing until it is used.
 *
 * Reading: `get` asks for the first bytes of the object, which say whether it is there, how long it is and what its entity
 * tag is. Short artifacts are whole with that; for a longer one `open` asks for the rest (of the same object: another one in
 * its place is an error) and resolves when it is on its way. What is cut off goes on where it ended.
 *
 * Writing: bodies above the size of a part go up in parts; what fails leaves nothing. An object replaces another at once,
 * as S3 promises it. `created` and what `delete` resolves to come from a HEAD before it: of two who write at the same time
 * both may hear the same.
 *
 * After all attempts the methods reject with `ERR_HOTBLOB_UPSTREAM_DENIED` (credentials, policy), `ERR_HOTBLOB_OVERLOADED`
 * (S3 asks to slow down), `ERR_HOTBLOB_UPSTREAM_TIMEOUT`, or `ERR_HOTBLOB_UPSTREAM` for all else that fails at the service or
 * on the way to it.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an option that is unknown or wrong, and without the package
 */
export async function s3Store(options: S3StoreOptions): Promise<S3Store> {
  const sdk = await loadSdk();
  return new ObjectsInBucket(sdk, s3SettingsOf(options, sdk));
}

class ObjectsInBucket implements S3Store {
  readonly #settings: S3Settings;
  readonly #bucket: Bucket;
  readonly #budget: ByteBudget;
  readonly #uploads = new Set<Promise<unknown>>();
  #closed = false;

  constructor(sdk: Sdk, settings: S3Settings) {
    this.#settings = settings;
    this.#bucket = new Bucket(sdk, settings.client, settings.bucket);
    this.#budget = new ByteBudget(settings.uploadBytes);
  }

  async get(key: string, options?: GetOptions): Promise<StreamArtifact | undefined> {
    const name = this.#nameOf(key);
    const signal = options?.signal ?? new AbortController().signal;
    const found = await this.#find(name, signal);
    if (found === undefined) return undefined;
    const { facts, first } = found;
    return {
      ...facts,
      kind: 'stream',
      open: (range, { signal: reading }) => this.#open(name, facts, first, range, reading),
    };
  }

  async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
    try {
      const name = this.#nameOf(key);
      options.signal.throwIfAborted();
      const { partBytes, requestTimeoutMs: timeoutMs } = this.#settings;
      const running = upload(this.#bucket, name, body, options, { partBytes, timeoutMs, budget: this.#budget });
      this.#uploads.add(running);
      return await running.finally(() => this.#uploads.delete(running));
    } catch (error) {
      discard(body);
      throw error;
    }
  }

  async delete(key: string): Promise<boolean> {
    const name = this.#nameOf(key);
    if ((await this.#bucket.head(name)) === undefined) return false;
    await this.#bucket.delete(name);
    return true;
  }

  stats(): StoreStats {
    return this.#bucket.stats();
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled(this.#uploads);
    if (this.#settings.ownsClient) this.#settings.client.destroy();
  }

  /** The name of the object; throws for what cannot be one, and when the store has been closed. */
  #nameOf(key: string): string {
    if (this.#closed) throw new HotblobError('ERR_HOTBLOB_OVERLOADED', 'the store has been closed');
    assertKey(key);
    const name = this.#settings.prefix + key;
    // S3's own limit is the same as ours, but the prefix counts there.
    if (Buffer.byteLength(name) > MAX_KEY_BYTES) {
      const message = `the prefix and the key have at most ${MAX_KEY_BYTES} bytes together`;
      throw new HotblobError('ERR_HOTBLOB_KEY_TOO_LONG', message);
    }
    // All of them would become the same replacement character.
    if (/\p{Surrogate}/u.test(key)) {
      throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'a key is Unicode: half of a surrogate pair is no character');
    }
    return name;
  }

  /** The object's facts and its first bytes. */
  async #find(
    name: string,
    signal: AbortSignal,
  ): Promise<{ readonly facts: ObjectFacts; readonly first: Buffer } | undefined> {
    const end = this.#settings.firstBytes;
    const read = end === 0 ? 'outside' : await this.#bucket.read(name, { start: 0, end }, signal);
    if (read === undefined) return undefined;
    // An empty object has no first bytes to ask for.
    if (read === 'outside') {
      const facts = await this.#bucket.head(name, signal);
      return facts && { facts, first: EMPTY };
    }
    const { facts, body, range } = read;
    if (range.start !== 0 || range.end > end || range.end === 0) {
      // Empty, or from a service that knows no ranges: the rest has its own request, and finds that out.
      abandon(body);
      return { facts, first: EMPTY };
    }
    const origin = await this.#originOf(name, facts, range, signal);
    const chunks: Buffer[] = [];
    for await (const chunk of new ObjectBody(origin, body, range.end)) chunks.push(chunk);
    return { facts, first: Buffer.concat(chunks) };
  }

  async #open(
    name: string,
    facts: ObjectFacts,
    first: Buffer,
    range: ByteRange | undefined,
    signal: AbortSignal,
  ): Promise<Readable> {
    const { start, end } = range ?? { start: 0, end: facts.size };
    const known = first.subarray(start, end);
    if (known.byteLength === end - start) return Readable.from(known.byteLength === 0 ? [] : [known]);
    const rest = { start: start + known.byteLength, end };
    const origin = await this.#originOf(name, facts, rest, signal);
    // Awaited, so that what fails here still has a status, and what is deleted or replaced from now on does not matter.
    return new ObjectBody(origin, await origin.reopen(0), end - rest.start, known);
  }

  async #originOf(name: string, facts: ObjectFacts, range: ByteRange, signal: AbortSignal): Promise<BodyOrigin> {
    return {
      doing: `reading from the bucket '${this.#settings.bucket}'`,
      attempts: await this.#bucket.attempts(),
      timeoutMs: this.#settings.requestTimeoutMs,
      signal,
      reopen: (received) => this.#bucket.readOn(name, { start: range.start + received, end: range.end }, facts, signal),
    };
  }
}

const EMPTY = Buffer.alloc(0);
