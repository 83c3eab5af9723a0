import assert from 'node:assert/strict';
import type { Readable } from 'node:stream';
import type { Artifact, ByteRange, UploadMetadata } from '../contract/artifact.js';
import type { PutResult, Store, StoreEntry } from '../contract/store.js';
import { assertArtifact } from './artifacts.js';
import { arriving, assertBytes } from './bodies.js';
import type { Capabilities } from './options.js';
import { beginReading, type Reading } from './reading.js';
import { type Outcome, outcomeOf, within } from './steps.js';

/** A store, and what its owner has told about it. */
export interface SubjectSettings {
  readonly store: Store;
  readonly capabilities: Capabilities;
  readonly largeBytes: number;
  readonly timeoutMs: number;
  /** Brings an artifact into a store that takes no uploads. */
  readonly seed: (key: string, bytes: Uint8Array) => unknown;
  /** What the store keeps; undefined where nobody can tell. */
  readonly inventory: () => readonly string[] | undefined | Promise<readonly string[] | undefined>;
}

/** How an upload is made. */
export interface UploadOptions {
  /** What is announced, in bytes. Default: nothing. */
  readonly size?: number;
  /** Default: one that is aborted when the check is over. */
  readonly signal?: AbortSignal;
  /** What it says about itself. Default: nothing. */
  readonly metadata?: UploadMetadata;
}

/** The store of one check, and what checks do with it. Each step has the deadline of the settings. */
export class Subject {
  readonly store: Store;
  readonly capabilities: Capabilities;
  readonly largeBytes: number;
  readonly #settings: SubjectSettings;
  /** What is being read, with what has been read of it. */
  readonly #open = new Map<Reading, Uint8Array[]>();
  readonly #controllers: AbortController[] = [];

  constructor(settings: SubjectSettings) {
    this.store = settings.store;
    this.capabilities = settings.capabilities;
    this.largeBytes = settings.largeBytes;
    this.#settings = settings;
  }

  /** The signal of a client of its own, that stays until the check is over. */
  signal(): AbortSignal {
    const controller = new AbortController();
    this.#controllers.push(controller);
    return controller.signal;
  }

  within<T>(what: string, promise: T | Promise<T>): Promise<T> {
    return within(this.#settings.timeoutMs, what, promise);
  }

  /** Brings an artifact into the store: by an upload, or where it takes none by the seed of the settings. */
  async fill(key: string, bytes: Uint8Array): Promise<void> {
    if (this.capabilities.writable) await this.put(key, bytes);
    else await this.within('seed()', Promise.resolve(this.#settings.seed(key, bytes)));
  }

  /** Uploads what has a known length, and fails where the store does. */
  async put(key: string, bytes: Uint8Array, options: UploadOptions = {}): Promise<PutResult> {
    const upload = this.upload(key, arriving(bytes), { size: bytes.byteLength, ...options });
    return stored(await this.within('put()', upload));
  }

  /** Starts an upload. Never rejects, so that a check may look at it when it likes. */
  upload(key: string, body: Readable, options: UploadOptions = {}): Promise<Outcome<PutResult>> {
    const { signal = this.signal(), ...rest } = options;
    return outcomeOf(async () => {
      assert(this.store.put !== undefined, 'the store has no put()');
      return await this.store.put(key, body, { signal, ...rest });
    });
  }

  /** Whether there was something to delete. */
  async delete(key: string): Promise<boolean> {
    const { store } = this;
    assert(store.delete !== undefined, 'the store has no delete()');
    return await this.within('delete()', store.delete(key));
  }

  /** The artifact under a key, as the store says; what it says about a miss is a check of its own. */
  async lookUp(key: string, signal = this.signal()): Promise<Artifact | undefined> {
    const artifact = (await this.within('get()', Promise.resolve(this.store.get(key, { signal })))) ?? undefined;
    if (artifact !== undefined) assertArtifact(artifact);
    return artifact;
  }

  /** Begins to read what is under a key; undefined for a miss. */
  async open(key: string, range?: ByteRange, signal = this.signal()): Promise<Reading | undefined> {
    const artifact = await this.lookUp(key, signal);
    return artifact && this.begin(artifact, range, signal);
  }

  /** Begins to read an artifact; undefined for a file that is not there. */
  async begin(artifact: Artifact, range?: ByteRange, signal = this.signal()): Promise<Reading | undefined> {
    const reading = await this.within('opening an artifact', beginReading(artifact, range, signal));
    if (reading !== undefined) this.#open.set(reading, []);
    return reading;
  }

  /** As {@link open}, for what has to be there. */
  async openFound(key: string, range?: ByteRange, signal = this.signal()): Promise<Reading> {
    const reading = await this.open(key, range, signal);
    assert(reading !== undefined, `nothing is found under '${key}'`);
    return reading;
  }

  /** Reads the next bytes; resolves to false where there are none. */
  async step(reading: Reading): Promise<boolean> {
    const chunk = await this.within('reading an artifact', reading.next());
    if (chunk !== undefined) this.#open.get(reading)?.push(chunk);
    return chunk !== undefined;
  }

  /** Reads an artifact to its end, and resolves to all of it. */
  async drain(reading: Reading): Promise<Buffer> {
    while (await this.step(reading));
    const chunks = this.#open.get(reading) ?? [];
    await this.leave(reading);
    return Buffer.concat(chunks);
  }

  /** Stops reading. */
  async leave(reading: Reading): Promise<void> {
    this.#open.delete(reading);
    await reading.close();
  }

  /** Reads what is under a key, whole; undefined for a miss. */
  async read(key: string, signal = this.signal()): Promise<Buffer | undefined> {
    const reading = await this.open(key, undefined, signal);
    if (reading === undefined) return undefined;
    const { size } = reading;
    const bytes = await this.drain(reading);
    if (size !== undefined) assert.equal(bytes.byteLength, size, `the artifact says ${size} bytes`);
    return bytes;
  }

  /** Fails unless exactly `expected` is under the key. */
  async assertHolds(key: string, expected: Uint8Array): Promise<void> {
    const found = await this.read(key);
    assert(found !== undefined, `nothing is found under '${key}'`);
    assertBytes(found, expected, `what is found under '${key}'`);
  }

  /** Fails unless nothing is under the key. */
  async assertMiss(key: string): Promise<void> {
    const found = await this.read(key);
    assert(found === undefined, `${found?.byteLength} bytes are found under '${key}', where nothing should be`);
  }

  /** What the store lists, in the order of the keys. */
  async list(): Promise<StoreEntry[]> {
    const { store } = this;
    const all = async (): Promise<StoreEntry[]> => {
      const entries: StoreEntry[] = [];
      assert(store.list !== undefined, 'the store has no list()');
      for await (const entry of store.list()) entries.push(entry);
      return entries;
    };
    const entries = await this.within('list()', all());
    return entries.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  }

  /** What the store keeps, sorted; undefined where nobody can tell. */
  async inventory(): Promise<readonly string[] | undefined> {
    const names = await this.within('inventory()', Promise.resolve(this.#settings.inventory()));
    return names && [...names].sort();
  }

  /** Ends what the check has left under way, and closes the store. */
  async end(): Promise<void> {
    for (const reading of this.#open.keys()) await reading.close();
    for (const controller of this.#controllers) controller.abort();
    if (this.store.close !== undefined) await this.within('close()', this.store.close());
  }
}

/** What an upload has resolved to; throws what it was rejected with. */
export function stored(outcome: Outcome<PutResult>): PutResult {
  if (!outcome.ok) throw outcome.error;
  return outcome.value;
}

/** Fails where an upload was accepted that should not have been; else what it was rejected with. */
export function refused(outcome: Outcome<PutResult>, what: string): unknown {
  assert(!outcome.ok, `${what} was accepted`);
  return outcome.error;
}
