import assert from 'node:assert/strict';
import type { Readable } from 'node:stream';
import type { Artifact, ByteRange, UploadMetadata } from '../contract/artifact.js';
import type { PutResult, Store, StoreEntry } from '../contract/store.js';
import { type ArtifactReader, openReader } from './artifact-reader.js';
import { assertArtifact } from './artifacts.js';
import { assertEqual } from './assert-equal.js';
import { assertBytes, chunkedBody } from './bodies.js';
import type { Capabilities } from './options.js';
import { type Outcome, outcomeOf, withDeadline } from './promises.js';

/** Store under test and the options of its suite. */
export interface SubjectSettings {
  readonly store: Store;
  readonly capabilities: Capabilities;
  readonly largeBytes: number;
  readonly timeoutMs: number;
  /** Adds an artifact to a read-only store. */
  readonly seed: (key: string, bytes: Uint8Array) => unknown;
  /** Returns the names of everything that the store keeps; undefined without the option `inventory`. */
  readonly inventory: () => readonly string[] | undefined | Promise<readonly string[] | undefined>;
}

/** Options of an upload. */
export interface UploadOptions {
  /** Length in bytes that the upload announces. Default: none. */
  readonly size?: number;
  /** Signal that aborts the upload. Default: a signal that is aborted at the end of the check. */
  readonly signal?: AbortSignal;
  readonly metadata?: UploadMetadata;
  readonly ifAbsent?: boolean;
}

/** Store under test. Checks call the store through these methods, each of which fails after `timeoutMs`. */
export class Subject {
  readonly store: Store;
  readonly capabilities: Capabilities;
  readonly largeBytes: number;
  readonly #settings: SubjectSettings;
  /** Open readers, each with the chunks that it has returned. */
  readonly #readers = new Map<ArtifactReader, Uint8Array[]>();
  readonly #controllers: AbortController[] = [];

  constructor(settings: SubjectSettings) {
    this.store = settings.store;
    this.capabilities = settings.capabilities;
    this.largeBytes = settings.largeBytes;
    this.#settings = settings;
  }

  /** Returns the signal of a new client. The signal is aborted at the end of the check. */
  signal(): AbortSignal {
    const controller = new AbortController();
    this.#controllers.push(controller);
    return controller.signal;
  }

  withDeadline<T>(what: string, promise: T | Promise<T>): Promise<T> {
    return withDeadline(this.#settings.timeoutMs, what, promise);
  }

  /** Adds an artifact: by an upload if the store is writable, otherwise with the option `seed`. */
  async add(key: string, bytes: Uint8Array): Promise<void> {
    if (this.capabilities.writable) await this.put(key, bytes);
    else await this.withDeadline('seed()', Promise.resolve(this.#settings.seed(key, bytes)));
  }

  /** Uploads `bytes` and announces their length. Rejects if put() of the store rejects. */
  async put(key: string, bytes: Uint8Array, options: UploadOptions = {}): Promise<PutResult> {
    const upload = this.upload(key, chunkedBody(bytes), { size: bytes.byteLength, ...options });
    return assertStored(await this.withDeadline('put()', upload));
  }

  /** Starts an upload and resolves to its outcome. Never rejects, so that a check can inspect the outcome later. */
  upload(key: string, body: Readable, options: UploadOptions = {}): Promise<Outcome<PutResult>> {
    const { signal = this.signal(), ...rest } = options;
    return outcomeOf(async () => {
      assert(this.store.put !== undefined, 'the store has no put()');
      return await this.store.put(key, body, { signal, ...rest });
    });
  }

  /** Deletes the artifact under `key`. Resolves to whether there was one. */
  async delete(key: string): Promise<boolean> {
    const { store } = this;
    assert(store.delete !== undefined, 'the store has no delete()');
    return await this.withDeadline('delete()', store.delete(key));
  }

  /** Resolves to the artifact under `key`. Accepts null as a miss, because a separate check rejects null. */
  async get(key: string, signal = this.signal()): Promise<Artifact | undefined> {
    const result = Promise.resolve(this.store.get(key, { signal }));
    const artifact = (await this.withDeadline('get()', result)) ?? undefined;
    if (artifact !== undefined) assertArtifact(artifact);
    return artifact;
  }

  /** Opens the artifact under `key`. Resolves to undefined for a miss. */
  async open(key: string, range?: ByteRange, signal = this.signal()): Promise<ArtifactReader | undefined> {
    const artifact = await this.get(key, signal);
    return artifact && this.openArtifact(artifact, range, signal);
  }

  /** Opens an artifact. Resolves to undefined for a file that does not exist. */
  async openArtifact(
    artifact: Artifact,
    range?: ByteRange,
    signal = this.signal(),
  ): Promise<ArtifactReader | undefined> {
    const reader = await this.withDeadline('opening an artifact', openReader(artifact, range, signal));
    if (reader !== undefined) this.#readers.set(reader, []);
    return reader;
  }

  /** Opens the artifact under `key`. Rejects for a miss. */
  async openExisting(key: string, range?: ByteRange, signal = this.signal()): Promise<ArtifactReader> {
    const reader = await this.open(key, range, signal);
    assert(reader !== undefined, `expected an artifact under '${key}', received a miss`);
    return reader;
  }

  /** Reads the next chunk. Resolves to false at the end. */
  async readChunk(reader: ArtifactReader): Promise<boolean> {
    const chunk = await this.withDeadline('reading an artifact', reader.next());
    if (chunk !== undefined) this.#readers.get(reader)?.push(chunk);
    return chunk !== undefined;
  }

  /** Reads to the end and closes the reader. Resolves to all bytes, including those read before. */
  async readToEnd(reader: ArtifactReader): Promise<Buffer> {
    while (await this.readChunk(reader));
    const chunks = this.#readers.get(reader) ?? [];
    await this.closeReader(reader);
    return Buffer.concat(chunks);
  }

  async closeReader(reader: ArtifactReader): Promise<void> {
    this.#readers.delete(reader);
    await reader.close();
  }

  /** Reads the whole artifact under `key`. Resolves to undefined for a miss. */
  async read(key: string, signal = this.signal()): Promise<Buffer | undefined> {
    const reader = await this.open(key, undefined, signal);
    if (reader === undefined) return undefined;
    const { size } = reader;
    const bytes = await this.readToEnd(reader);
    if (size !== undefined)
      assertEqual(bytes.byteLength, size, `bytes of the artifact under '${key}', compared with its property size`);
    return bytes;
  }

  async assertHolds(key: string, expected: Uint8Array): Promise<void> {
    const bytes = await this.read(key);
    assert(bytes !== undefined, `expected an artifact under '${key}', received a miss`);
    assertBytes(bytes, expected, `artifact under '${key}'`);
  }

  async assertMiss(key: string): Promise<void> {
    const bytes = await this.read(key);
    assert(bytes === undefined, `expected a miss under '${key}', received ${bytes?.byteLength} bytes`);
  }

  /** Returns the entries of list(), sorted by key. */
  async list(): Promise<StoreEntry[]> {
    const { store } = this;
    const collect = async (): Promise<StoreEntry[]> => {
      const entries: StoreEntry[] = [];
      assert(store.list !== undefined, 'the store has no list()');
      for await (const entry of store.list()) entries.push(entry);
      return entries;
    };
    const entries = await this.withDeadline('list()', collect());
    return entries.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  }

  /** Returns the result of the option `inventory`, sorted; undefined without the option. */
  async inventory(): Promise<readonly string[] | undefined> {
    const names = await this.withDeadline('inventory()', Promise.resolve(this.#settings.inventory()));
    return names && [...names].sort();
  }

  /** Closes open readers, aborts all signals and closes the store. */
  async finish(): Promise<void> {
    for (const reader of this.#readers.keys()) await reader.close();
    for (const controller of this.#controllers) controller.abort();
    if (this.store.close !== undefined) await this.withDeadline('close()', this.store.close());
  }
}

/** Returns the result of a successful upload. Throws the error of a rejected one. */
export function assertStored(outcome: Outcome<PutResult>): PutResult {
  if (!outcome.ok) throw outcome.error;
  return outcome.value;
}

/** Asserts that an upload was rejected and returns its error. */
export function assertRejected(outcome: Outcome<PutResult>, what: string): unknown {
  assert(!outcome.ok, `${what}: expected put() to reject, but it resolved`);
  return outcome.error;
}
