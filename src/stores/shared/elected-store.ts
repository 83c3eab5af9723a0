import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { Artifact } from '../../contract/artifact.js';
import { errnoCode, HotblobError } from '../../contract/errors.js';
import {
  assertEncodable,
  assertKey,
  type GetOptions,
  type PutOptions,
  type PutResult,
  type ReadWriteStore,
  type StoreEntry,
  type StoreStats,
} from '../../contract/store.js';
import { neverAborted } from '../../util/never-aborted.js';
import { messageOf, reportEvent } from '../../util/report-event.js';
import { discard } from '../body.js';
import { ReadReports } from './read-reports.js';
import { writerGoneError } from './remote-error.js';
import { RemoteWriter } from './remote-writer.js';
import { type WritableStore, Writer } from './writer.js';

/** Store that several processes share. */
export interface SharedStore extends ReadWriteStore {
  /** Directory of the store, absolute and with symbolic links resolved. */
  readonly root: string;
  /** Whether this process writes to the directory, for itself and for the others. It changes when the writer ends. */
  readonly isWriter: boolean;
  get(key: string, options?: Partial<GetOptions>): Artifact | undefined | Promise<Artifact | undefined>;
  put(key: string, body: Readable, options?: Partial<PutOptions>): Promise<PutResult>;
  delete(key: string): Promise<boolean>;
  list(): AsyncIterable<StoreEntry>;
  /** Returns the statistics of the writer. In other processes they are up to about a second old. */
  stats(): StoreStats;
  close(): Promise<void>;
}

/** Store of a process that only reads. */
export interface ReadableStore {
  get(key: string, options?: Partial<GetOptions>): Artifact | undefined | Promise<Artifact | undefined>;
  list(): AsyncIterable<StoreEntry>;
  stats(): StoreStats;
  close(): Promise<void>;
}

/** Access to the directory that processes share. */
export interface StoreAccess {
  openWriter(): Promise<ReadableStore & WritableStore>;
  openReader(): Promise<ReadableStore>;
  /**
   * Acquires the lock of the writer.
   *
   * @param onConnection receives the connections of other processes
   * @throws HotblobError `ERR_HOTBLOB_LOCKED` if another process holds it
   */
  lock(onConnection: (socket: Socket) => void): Promise<{ release(): Promise<void> }>;
  /** Connects to the process that holds the lock. Resolves to undefined if there is none. */
  connect(): Promise<Socket | undefined>;
}

/** This process as the writer. */
interface LocalWriter {
  readonly store: ReadableStore & WritableStore;
  /** Closes the store, and lets another process become the writer. */
  close(): Promise<void>;
}

/** Time that uploads and deletions wait for a writer, in milliseconds. */
const WRITER_TIMEOUT_MS = 10_000;
/** Pause after an election in which this process was not elected and found no writer, in milliseconds. */
const ELECTION_PAUSE_MS = 10;
/** Pause after this process was elected and could not open the store for writing, in milliseconds. */
const FAILURE_PAUSE_MS = 1000;

/** Store of a process that shares it with others, as the writer or as a reader. */
export class ElectedStore implements SharedStore {
  readonly root: string;
  readonly #access: StoreAccess;
  readonly #reads: ReadReports | undefined;
  /** Undefined while the store is opened. */
  #readable: ReadableStore | undefined;
  #local: LocalWriter | undefined;
  #remote: RemoteWriter | undefined;
  #election: Promise<void> | undefined;
  /** Calls that wait for a change of the store or the writer. */
  readonly #waiting = new Set<() => void>();
  #closing: Promise<void> | undefined;

  /** @param evicts whether the store evicts artifacts, for which reads count */
  constructor(root: string, evicts: boolean, access: StoreAccess) {
    this.root = root;
    this.#access = access;
    if (evicts) this.#reads = new ReadReports((keys) => this.#remote?.sendReads(keys));
  }

  get isWriter(): boolean {
    return this.#local !== undefined;
  }

  /** Opens the store. @throws the error of opening it */
  async start(): Promise<void> {
    this.#election = (async () => {
      while (!(await this.#elect())) await delay(ELECTION_PAUSE_MS);
    })();
    try {
      await this.#election;
    } finally {
      this.#election = undefined;
    }
  }

  get(key: string, options?: Partial<GetOptions>): Artifact | undefined | Promise<Artifact | undefined> {
    this.#assertOpen();
    const store = this.#readable;
    if (store === undefined) return this.#getLater(key, options);
    if (this.#local === undefined) this.#reads?.add(key);
    return store.get(key, options);
  }

  async put(key: string, body: Readable, options: Partial<PutOptions> = {}): Promise<PutResult> {
    try {
      assertKey(key);
      assertEncodable(key);
      const { signal = neverAborted() } = options;
      return await this.#write(
        signal,
        (writer) => writer.put(key, body, { ...options, signal }),
        () => !body.readableDidRead,
      );
    } catch (error) {
      discard(body);
      throw error;
    }
  }

  async delete(key: string): Promise<boolean> {
    assertKey(key);
    assertEncodable(key);
    return this.#write(
      neverAborted(),
      (writer) => writer.delete(key),
      () => true,
    );
  }

  async *list(): AsyncGenerator<StoreEntry> {
    yield* (await this.#whenReadable()).list();
  }

  stats(): StoreStats {
    if (this.#closing !== undefined) return {};
    return this.#local?.store.stats() ?? { ...this.#readable?.stats(), ...this.#remote?.stats };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    this.#notify();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#election?.catch(() => {}); // it has reported its error
    this.#reads?.flush();
    this.#remote?.close();
    await (this.#local ?? this.#readable)?.close();
  }

  async #getLater(key: string, options: Partial<GetOptions> | undefined): Promise<Artifact | undefined> {
    return (await this.#whenReadable()).get(key, options);
  }

  async #whenReadable(): Promise<ReadableStore> {
    for (;;) {
      this.#assertOpen();
      if (this.#readable !== undefined) return this.#readable;
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  /**
   * Calls `operation` with the writer. If the writer ends before the result and `isRepeatable` returns true, calls it again with
   * the next writer.
   */
  async #write<T>(
    signal: AbortSignal,
    operation: (writer: Pick<WritableStore, 'put' | 'delete'>) => Promise<T>,
    isRepeatable: () => boolean,
  ): Promise<T> {
    const timeout = AbortSignal.timeout(WRITER_TIMEOUT_MS);
    for (;;) {
      const writer = await this.#whenWritable(signal, timeout);
      try {
        return await operation(writer);
      } catch (error) {
        if (errnoCode(error) !== 'ERR_HOTBLOB_WRITER_GONE' || !isRepeatable()) throw error;
        // The connection to the writer is closed, or is about to be.
        if (this.#remote === writer) this.#remote = undefined;
      }
    }
  }

  async #whenWritable(signal: AbortSignal, timeout: AbortSignal): Promise<Pick<WritableStore, 'put' | 'delete'>> {
    const wake = (): void => this.#notify();
    signal.addEventListener('abort', wake);
    timeout.addEventListener('abort', wake);
    try {
      for (;;) {
        this.#assertOpen();
        signal.throwIfAborted();
        const writer = this.#local?.store ?? this.#remote;
        if (writer !== undefined) return writer;
        if (timeout.aborted) throw writerGoneError();
        await new Promise<void>((resolve) => this.#waiting.add(resolve));
      }
    } finally {
      signal.removeEventListener('abort', wake);
      timeout.removeEventListener('abort', wake);
    }
  }

  #notify(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }

  /** Becomes a reader or the writer. Resolves to false if there is no writer, and another process is about to become it. */
  async #elect(): Promise<boolean> {
    return (await this.#attach()) || (await this.#becomeWriter());
  }

  /** Elects a writer after the previous one has ended. Does not reject. */
  async #electAgain(): Promise<void> {
    while (this.#closing === undefined) {
      try {
        if (await this.#elect()) return;
        await delay(ELECTION_PAUSE_MS * (1 + Math.random()), undefined, { ref: false });
      } catch (error) {
        reportEvent('store without a writer', `${this.root}: ${messageOf(error)}`, error);
        await delay(FAILURE_PAUSE_MS, undefined, { ref: false });
      }
    }
  }

  /** Connects to the writer. Resolves to false if there is none. */
  async #attach(): Promise<boolean> {
    const writer: RemoteWriter | undefined = await RemoteWriter.attach(() => this.#access.connect(), {
      onEnding: () => this.#detach(writer),
      onClosed: () => {
        this.#detach(writer);
        if (this.#closing === undefined)
          this.#election ??= this.#electAgain().finally(() => (this.#election = undefined));
      },
    });
    if (writer === undefined) return false;
    try {
      this.#readable ??= await this.#access.openReader();
    } catch (error) {
      writer.close();
      throw error;
    }
    if (writer.isClosed) return false;
    this.#remote = writer;
    this.#notify();
    return true;
  }

  #detach(writer: RemoteWriter | undefined): void {
    if (this.#remote === writer) this.#remote = undefined;
  }

  /** Opens the store for writing. Resolves to false if another process does. */
  async #becomeWriter(): Promise<boolean> {
    const opened = new Deferred<WritableStore>();
    const writer = new Writer(opened.promise, this.root);
    let lock: { release(): Promise<void> } | undefined;
    const reader = this.#readable;
    try {
      lock = await this.#access.lock((socket) => writer.accept(socket));
      // LMDB must not open a file twice in a process, and fcntl(2) locks belong to the process.
      this.#readable = undefined;
      await reader?.close();
      const store = await this.#access.openWriter();
      opened.resolve(store);
      this.#local = { store, close: () => closeWriter(writer, store, lock) };
      this.#readable = store;
      this.#notify();
      return true;
    } catch (error) {
      writer.close();
      await lock?.release();
      if (lock === undefined && errnoCode(error) === 'ERR_HOTBLOB_LOCKED') return false;
      // Artifacts can still be read.
      if (reader !== undefined) this.#readable ??= await this.#access.openReader();
      this.#notify();
      throw error;
    }
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) throw new HotblobError('ERR_HOTBLOB_CLOSED', 'the shared store is closed');
  }
}

async function closeWriter(
  writer: Writer,
  store: ReadableStore,
  lock: { release(): Promise<void> } | undefined,
): Promise<void> {
  await writer.drain();
  await store.close();
  writer.close();
  await lock?.release();
}

class Deferred<T> {
  resolve: (value: T) => void = () => {};
  readonly promise = new Promise<T>((resolve) => {
    this.resolve = resolve;
  });
}
