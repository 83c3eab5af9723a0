import { Readable } from 'node:stream';
import type { Artifact } from '../../contract/artifact.js';
import { errnoCode, HotblobError } from '../../contract/errors.js';
import type { PurgeFilter, PurgeOptions, PurgeResult } from '../../contract/purge.js';
import {
  assertEncodable,
  assertKey,
  type GetOptions,
  type ListOptions,
  type PutOptions,
  type PutResult,
  type ReadWriteStore,
  type StoreEntry,
  type StoreStats,
} from '../../contract/store.js';
import { purgeMatcher } from '../../keys/purge-matcher.js';
import { chunksOf, discard } from '../body.js';
import { CorruptReports } from './corrupt-reports.js';
import { Membership } from './membership.js';
import { ReadReports } from './read-reports.js';
import { interruptedListError, writerGoneError } from './remote-error.js';
import { RemoteWriter } from './remote-writer.js';
import type { ReadableStore, StoreAccess, WritableStore } from './store-access.js';

/** Store that several processes share. */
export interface SharedStore extends ReadWriteStore {
  /** Directory of the store, absolute and with symbolic links resolved. */
  readonly root: string;
  /** Whether this process is the writer: it writes to the directory for all processes. This can change when the writer ends. */
  readonly isWriter: boolean;
  get(key: string, options?: Partial<GetOptions>): Artifact | undefined | Promise<Artifact | undefined>;
  put(key: string, body: Readable, options?: Partial<PutOptions>): Promise<PutResult>;
  delete(key: string): Promise<boolean>;
  /** @throws HotblobError `ERR_HOTBLOB_WRITER_GONE` if this process becomes the writer while it lists */
  list(options?: ListOptions): AsyncIterable<StoreEntry>;
  /**
   * Deletes the artifacts that match. The writer does it, also for other processes.
   *
   * @throws HotblobError `ERR_HOTBLOB_WRITER_GONE` if the writer ends, or closes its store, before the purge is complete
   */
  purge(filter: PurgeFilter, options?: PurgeOptions): Promise<PurgeResult>;
  /**
   * Returns the statistics of the writer. In other processes they are up to about a second old, and `corrupt` counts only artifacts
   * that were found while there was no writer: otherwise the writer counts them.
   */
  stats(): StoreStats;
  close(): Promise<void>;
}

/** Operations of the writer, in this process or in another one. */
type Writes = Pick<WritableStore, 'put' | 'delete' | 'purge'>;

/** Maximum size of a body that is collected before it is sent to the writer. */
const MAX_COLLECTED_BYTES = 64 * 1024;

/** Time that operations wait for a writer, in milliseconds. */
const WRITER_TIMEOUT_MS = 10_000;
/** Pause before an operation is sent again, in milliseconds. The writer may have no free descriptors for a moment. */
const RETRY_PAUSE_MS = 50;

/** Store of a process that shares it with others, as the writer or as a reader. */
export class ElectedStore implements SharedStore {
  readonly root: string;
  readonly #membership: Membership;
  readonly #reads = new ReadReports((keys) => this.#membership.remote?.sendReads(keys));
  readonly #corrupt = new CorruptReports(async (key) => {
    const { remote } = this.#membership;
    if (remote === undefined) throw writerGoneError();
    await remote.check(key);
  });
  #closing: Promise<void> | undefined;

  constructor(root: string, access: StoreAccess) {
    this.root = root;
    this.#membership = new Membership(root, access, (key, error) => void this.#corrupt.add(key, error));
  }

  get isWriter(): boolean {
    return this.#membership.local !== undefined;
  }

  /** Opens the store. @throws the error of opening it */
  start(): Promise<void> {
    return this.#membership.start();
  }

  get(key: string, options?: Partial<GetOptions>): Artifact | undefined | Promise<Artifact | undefined> {
    this.#assertOpen();
    const store = this.#membership.readable;
    if (store === undefined) return this.#getLater(key, options);
    const artifact = store.get(key, options);
    if (this.#membership.local === undefined) this.#reads.add(key);
    return artifact;
  }

  async put(key: string, body: Readable, options: Partial<PutOptions> = {}): Promise<PutResult> {
    try {
      assertKey(key);
      assertEncodable(key);
      let bytes: Uint8Array | undefined;
      const result = await this.#write(
        options.signal,
        async (writer) => {
          if (!(writer instanceof RemoteWriter)) return writer.put(key, bytes ? Readable.from([bytes]) : body, options);
          if (!isSmall(options.size)) return writer.put(key, body, options);
          // A small body is sent when it has arrived, in one piece, and can be sent to the next writer again.
          bytes ??= await collect(body, options);
          return writer.putBytes(key, bytes, options);
        },
        () => bytes !== undefined || !body.readableDidRead,
      );
      this.#corrupt.forget(key);
      return result;
    } catch (error) {
      discard(body);
      throw error;
    }
  }

  async delete(key: string): Promise<boolean> {
    assertKey(key);
    assertEncodable(key);
    return this.#write(
      undefined,
      (writer) => writer.delete(key),
      () => true,
    );
  }

  async purge(filter: PurgeFilter, options: PurgeOptions = {}): Promise<PurgeResult> {
    purgeMatcher(filter); // checks it: JSON would change an invalid one
    return this.#write(
      options.signal,
      (writer) => writer.purge(filter, options),
      () => false,
    );
  }

  async *list(options?: ListOptions): AsyncGenerator<StoreEntry> {
    const store = await this.#whenReadable();
    try {
      yield* store.list(options);
    } catch (error) {
      if (errnoCode(error) === 'ERR_HOTBLOB_CLOSED' && this.#closing === undefined) throw interruptedListError(error);
      throw error;
    }
  }

  stats(): StoreStats {
    if (this.#closing !== undefined) return {};
    const { local, readable, remote } = this.#membership;
    const own = (local ?? readable)?.stats();
    const corrupt = (own?.corrupt ?? 0) + this.#corrupt.count;
    return { ...own, ...(local === undefined && remote?.stats), corrupt };
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      this.#reads.flush();
      await this.#membership.close();
    })();
    return this.#closing;
  }

  async #getLater(key: string, options: Partial<GetOptions> | undefined): Promise<Artifact | undefined> {
    return (await this.#whenReadable()).get(key, options);
  }

  #whenReadable(): Promise<ReadableStore> {
    return this.#when(() => this.#membership.readable, performance.now() + WRITER_TIMEOUT_MS);
  }

  /**
   * Calls `operation` with the writer. If the writer ends before there is a result and `isRepeatable` returns true, calls `operation`
   * again with the next writer.
   */
  async #write<T>(
    signal: AbortSignal | undefined,
    operation: (writer: Writes) => Promise<T>,
    isRepeatable: () => boolean,
  ): Promise<T> {
    const deadline = performance.now() + WRITER_TIMEOUT_MS;
    for (;;) {
      const writer = await this.#when<Writes>(
        () => this.#membership.local ?? this.#membership.remote,
        deadline,
        signal,
      );
      try {
        return await operation(writer);
      } catch (error) {
        const isGone = errnoCode(error) === 'ERR_HOTBLOB_WRITER_GONE';
        if (!isGone || !isRepeatable() || performance.now() >= deadline) throw error;
        await this.#membership.changed(RETRY_PAUSE_MS, signal);
      }
    }
  }

  /** Waits until `find` returns a value. */
  async #when<T>(find: () => T | undefined, deadline: number, signal?: AbortSignal): Promise<T> {
    for (;;) {
      this.#assertOpen();
      signal?.throwIfAborted();
      const found = find();
      if (found !== undefined) return found;
      const remaining = deadline - performance.now();
      if (remaining <= 0) throw writerGoneError();
      await this.#membership.changed(remaining, signal);
    }
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) throw new HotblobError('ERR_HOTBLOB_CLOSED', 'the shared store is closed');
  }
}

function isSmall(size: number | undefined): boolean {
  return size !== undefined && size <= MAX_COLLECTED_BYTES;
}

async function collect(body: Readable, options: Partial<PutOptions>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of chunksOf(body, options, Number.POSITIVE_INFINITY)) chunks.push(chunk);
  const [first] = chunks;
  return chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks);
}
