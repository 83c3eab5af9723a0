import { setTimeout as delay } from 'node:timers/promises';
import { errnoCode } from '../../contract/errors.js';
import { messageOf, reportEvent } from '../../util/report-event.js';
import { type CorruptListener, passCorruptArtifacts } from '../corrupt-artifacts.js';
import { RemoteWriter } from './remote-writer.js';
import type { Lock, ReadableStore, StoreAccess, WritableStore } from './store-access.js';
import { Writer } from './writer.js';

/** This process as the writer. */
interface LocalWriter {
  readonly store: ReadableStore & WritableStore;
  /** Closes the store, and lets another process become the writer. */
  close(): Promise<void>;
}

/** Pause in milliseconds after an election in which this process did not become the writer and found no other writer. */
const ELECTION_PAUSE_MS = 10;
/** Pause in milliseconds after this process was elected, but could not open the store for writing. */
const FAILURE_PAUSE_MS = 1000;

/** Role of this process among those that share a store: the writer, or a reader that is connected to the writer. */
export class Membership {
  readonly #root: string;
  readonly #access: StoreAccess;
  readonly #onCorrupt: CorruptListener;
  #readable: ReadableStore | undefined;
  #local: LocalWriter | undefined;
  #remote: RemoteWriter | undefined;
  #election: Promise<void> | undefined;
  #hasStarted = false;
  /** Functions that end the calls of {@link changed}. */
  readonly #waiting = new Set<() => void>();
  /** Aborted by {@link close}. */
  readonly #closed = new AbortController();

  /** @param onCorrupt receives the corrupt artifacts that this process finds as a reader */
  constructor(root: string, access: StoreAccess, onCorrupt: CorruptListener) {
    this.#root = root;
    this.#access = access;
    this.#onCorrupt = onCorrupt;
  }

  /** Store to read from. Undefined while this process becomes the writer. */
  get readable(): ReadableStore | undefined {
    return this.#readable;
  }

  /** Store of this process. Undefined if it is a reader. */
  get local(): (ReadableStore & WritableStore) | undefined {
    return this.#local?.store;
  }

  /** Writer in another process. Undefined if there is none, or if it is about to end. */
  get remote(): RemoteWriter | undefined {
    return this.#remote;
  }

  /** Becomes the writer or a reader. @throws the error of opening the store */
  async start(): Promise<void> {
    this.#election = (async () => {
      while (!(await this.#elect())) await this.changed(ELECTION_PAUSE_MS);
    })();
    try {
      await this.#election;
      this.#hasStarted = true;
    } finally {
      this.#election = undefined;
    }
  }

  /**
   * Resolves when one of the properties has changed, when `signal` is aborted, when `close` is called, or after `timeoutMs`. The
   * process stays alive until then.
   */
  changed(timeoutMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', done);
        this.#waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, timeoutMs);
      signal?.addEventListener('abort', done);
      this.#waiting.add(done);
    });
  }

  async close(): Promise<void> {
    this.#closed.abort();
    this.#notify();
    await this.#election?.catch(() => {}); // it has reported its error
    await this.#remote?.settled();
    this.#remote?.close();
    await (this.#local ?? this.#readable)?.close();
  }

  #notify(): void {
    for (const done of this.#waiting) done();
  }

  /**
   * Becomes a reader or the writer, unless `close` is called. Resolves to false if another process is about to become the writer.
   */
  async #elect(): Promise<boolean> {
    return (await this.#attach()) || this.#closed.signal.aborted || (await this.#becomeWriter());
  }

  /** Elects a writer after the previous one has ended. Does not reject. */
  async #electAgain(): Promise<void> {
    while (!this.#closed.signal.aborted) {
      try {
        if (await this.#elect()) return;
        await this.#pause(ELECTION_PAUSE_MS * (1 + Math.random()));
      } catch (error) {
        if (this.#closed.signal.aborted) return;
        reportEvent('store without a writer', `${this.#root}: ${messageOf(error)}`, error);
        await this.#pause(FAILURE_PAUSE_MS);
      }
    }
  }

  /** Waits without keeping the process alive. Ends early when `close` is called. */
  async #pause(ms: number): Promise<void> {
    await delay(ms, undefined, { ref: false, signal: this.#closed.signal }).catch(() => {}); // rejects if aborted
  }

  /** Connects to the writer. Resolves to false if there is none. */
  async #attach(): Promise<boolean> {
    const connect = await this.#access.findWriter();
    if (connect === undefined) return false;
    let isUsed = false;
    const writer: RemoteWriter | undefined = await RemoteWriter.attach(connect, this.#closed.signal, {
      onEnding: () => this.#detach(writer),
      onClosed: () => {
        this.#detach(writer);
        if (isUsed && !this.#closed.signal.aborted)
          this.#election ??= this.#electAgain().finally(() => (this.#election = undefined));
      },
    });
    if (writer === undefined) return false;
    try {
      this.#readable ??= await this.#openReader();
    } catch (error) {
      writer.close();
      throw error;
    }
    if (writer.isEnding) {
      writer.close();
      return false;
    }
    this.#remote = writer;
    isUsed = true;
    this.#notify();
    return true;
  }

  async #openReader(): Promise<ReadableStore> {
    const reader = await this.#access.openReader();
    passCorruptArtifacts(reader, this.#onCorrupt);
    return reader;
  }

  #detach(writer: RemoteWriter | undefined): void {
    if (writer === undefined || this.#remote !== writer) return;
    this.#remote = undefined;
    this.#notify();
  }

  /** Opens the store for writing. Resolves to false if another process holds the lock. */
  async #becomeWriter(): Promise<boolean> {
    const opened = new Deferred<WritableStore>();
    const writer = new Writer(opened.promise, this.#root);
    let lock: Lock | undefined;
    try {
      lock = await this.#access.lock((socket) => writer.accept(socket));
      // The reader is closed first: LMDB must not open a file twice in a process, because fcntl(2) locks belong to the process.
      const reader = this.#readable;
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
      // Opens the reader again, so that artifacts can still be read.
      if (this.#hasStarted) this.#readable ??= await this.#openReader();
      this.#notify();
      throw error;
    }
  }
}

async function closeWriter(writer: Writer, store: ReadableStore, lock: Lock | undefined): Promise<void> {
  try {
    await writer.drain();
    await store.close();
  } finally {
    writer.close();
    await lock?.release();
  }
}

class Deferred<T> {
  resolve: (value: T) => void = () => {};
  readonly promise = new Promise<T>((resolve) => {
    this.resolve = resolve;
  });
}
