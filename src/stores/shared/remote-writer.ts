import type { Readable } from 'node:stream';
import type { PurgeFilter, PurgeOptions, PurgeResult } from '../../contract/purge.js';
import type { PutOptions, PutResult, StoreStats } from '../../contract/store.js';
import type { Connect } from '../segments/writer-lock.js';
import { writerGoneError } from './remote-error.js';
import { SILENCE_MS, WriterChannel } from './writer-channel.js';

/** Maximum number of idle connections that are kept for further requests. */
const MAX_IDLE = 8;
/** Interval at which the process checks whether the writer still sends messages, in milliseconds. */
const CHECK_INTERVAL_MS = 1000;

export interface WriterEvents {
  onEnding(): void;
  onClosed(): void;
}

/** Writer in another process. */
export class RemoteWriter {
  readonly #connect: Connect;
  /** Connection for the messages of the writer. */
  readonly #control: WriterChannel;
  readonly #idle: WriterChannel[] = [];
  readonly #busy = new Set<WriterChannel>();
  readonly #running = new Set<Promise<unknown>>();
  #isAttached = false;
  #isEnding = false;
  /** Statistics of the store of the writer. */
  stats: StoreStats = {};

  /**
   * Connects to the writer, and waits until its store is open. Resolves to undefined if there is no writer.
   *
   * @param connect opens a connection to the writer
   * @param signal cancels the wait
   * @param events called when the writer is about to close its store, and when it has ended or closed it
   * @throws HotblobError `ERR_HOTBLOB_WRITER_GONE` if the writer does not respond in time
   */
  static async attach(connect: Connect, signal: AbortSignal, events: WriterEvents): Promise<RemoteWriter | undefined> {
    let writer: RemoteWriter;
    const start = performance.now();
    try {
      writer = new RemoteWriter(connect, await WriterChannel.open(connect), events);
    } catch (error) {
      if (performance.now() - start >= SILENCE_MS) throw error; // the writer is stopped, and keeps the lock
      return undefined;
    }
    return (await writer.#attach(signal)) ? writer : undefined;
  }

  private constructor(connect: Connect, control: WriterChannel, events: WriterEvents) {
    this.#connect = connect;
    this.#control = control;
    const watch = setInterval(() => this.#checkSilence(), CHECK_INTERVAL_MS).unref();
    control.onStats = (changed) => {
      this.stats = changed;
    };
    control.onEnding = async () => {
      this.#isEnding = true;
      if (this.#isAttached) events.onEnding();
      await this.settled();
    };
    control.onClosed = () => {
      clearInterval(watch);
      this.close();
      if (this.#isAttached) events.onClosed();
    };
  }

  async #attach(signal: AbortSignal): Promise<boolean> {
    const cancel = (): void => this.#control.destroy();
    signal.addEventListener('abort', cancel);
    try {
      signal.throwIfAborted();
      this.stats = (await this.#control.request({ kind: 'attach' })) as StoreStats; // the result of the request
      this.#isAttached = true;
      this.#control.unref();
      return true;
    } catch {
      this.#control.destroy();
      if (this.#isSilent) throw writerGoneError();
      return false;
    } finally {
      signal.removeEventListener('abort', cancel);
    }
  }

  /** Whether the writer has ended, or is about to. */
  get isEnding(): boolean {
    return this.#isEnding || this.#control.isClosed;
  }

  /** @throws HotblobError `ERR_HOTBLOB_WRITER_GONE` if the writer ends before the result arrives */
  put(key: string, body: Readable, options: Partial<PutOptions>): Promise<PutResult> {
    return this.#with((channel) => channel.upload(key, body, options));
  }

  /** Like {@link put}, for a body that has arrived. */
  putBytes(key: string, bytes: Uint8Array, options: Partial<PutOptions>): Promise<PutResult> {
    return this.#with((channel) => channel.uploadBytes(key, bytes, options));
  }

  /** @throws HotblobError `ERR_HOTBLOB_WRITER_GONE` if the writer ends before the result arrives */
  async delete(key: string): Promise<boolean> {
    const { existed } = (await this.#with((channel) => channel.request({ kind: 'delete', key }))) as {
      existed: boolean; // the result of a deletion
    };
    return existed;
  }

  /** @throws HotblobError `ERR_HOTBLOB_WRITER_GONE` if the writer ends before the result arrives */
  purge(filter: PurgeFilter, options: PurgeOptions): Promise<PurgeResult> {
    return this.#with((channel) => channel.purge(filter, options));
  }

  /**
   * Makes the writer look up an artifact that is corrupt, so that it removes, counts and reports it.
   *
   * @throws HotblobError `ERR_HOTBLOB_WRITER_GONE` if the writer ends before the result arrives
   */
  async check(key: string): Promise<void> {
    await this.#with((channel) => channel.request({ kind: 'check', key }));
  }

  sendReads(keys: readonly string[]): void {
    this.#control.sendReads(keys);
  }

  /** Waits until all requests have settled. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#running);
  }

  close(): void {
    this.#control.destroy();
    for (const channel of [...this.#idle, ...this.#busy]) channel.destroy();
  }

  get #isSilent(): boolean {
    return performance.now() - this.#control.heardAt >= SILENCE_MS;
  }

  /** Fails the requests if the writer is stopped. The connection for messages remains, because the writer may continue later. */
  #checkSilence(): void {
    if (!this.#isSilent) return;
    // If it was this process that was stopped, waiting messages of the writer are received in this turn of the event loop.
    setImmediate(() => {
      if (!this.#isSilent) return;
      if (!this.#isAttached) this.#control.destroy();
      for (const channel of this.#busy) channel.destroy();
    });
  }

  #with<T>(use: (channel: WriterChannel) => Promise<T>): Promise<T> {
    const running = this.#perform(use);
    this.#running.add(running);
    const end = (): void => void this.#running.delete(running);
    running.then(end, end);
    return running;
  }

  async #perform<T>(use: (channel: WriterChannel) => Promise<T>): Promise<T> {
    let channel = this.#idle.pop();
    while (channel?.isClosed) channel = this.#idle.pop();
    channel ??= await WriterChannel.open(this.#connect);
    this.#busy.add(channel);
    channel.ref();
    try {
      // After `onEnding`, the writer does not wait for further requests.
      if (this.isEnding) throw writerGoneError();
      const result = await use(channel);
      if (this.#idle.length < MAX_IDLE && !channel.isClosed && !this.#control.isClosed) this.#idle.push(channel);
      else channel.destroy();
      return result;
    } catch (error) {
      channel.destroy();
      throw error;
    } finally {
      channel.unref();
      this.#busy.delete(channel);
    }
  }
}
