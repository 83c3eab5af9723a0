import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { PurgeFilter, PurgeOptions, PurgeProgress, PurgeResult } from '../../contract/purge.js';
import type { PutOptions, PutResult, StoreStats } from '../../contract/store.js';
import { releaseFile } from '../../page-cache/release-file.js';
import { chunksOf } from '../body.js';
import type { Connect } from '../segments/writer-lock.js';
import { FRAME, FrameParser, sendBytes, sendMessage } from './frames.js';
import { decodeError, writerGoneError } from './remote-error.js';
import type { WriterRequest } from './writer-request.js';

/** Maximum time in milliseconds that a failed upload or a purge waits until the writer has discarded or stopped it. */
const DISCARD_TIMEOUT_MS = 5000;
/** Time in milliseconds after which a writer that sends nothing counts as stopped. A running writer sends statistics every second. */
export const SILENCE_MS = 10_000;

interface PendingResult {
  onProgress?: ((progress: PurgeProgress) => void) | undefined;
  resolve(result: object): void;
  reject(error: Error): void;
}

/** Connection of a reader to the writer, in the reader. Carries one request at a time. */
export class WriterChannel {
  readonly #socket: Socket;
  #pending: PendingResult | undefined;
  /** Value of `performance.now()` at the last message of the writer. */
  heardAt = performance.now();
  onStats = (_stats: StoreStats): void => {};
  /** Called when the writer is about to close its store. The message is acknowledged when the promise is resolved. */
  onEnding = async (): Promise<void> => {};
  onClosed = (): void => {};

  /**
   * Connects to the writer, and waits until it has accepted the connection.
   *
   * @throws HotblobError `ERR_HOTBLOB_WRITER_GONE` if the writer does not accept it
   */
  static async open(connect: Connect): Promise<WriterChannel> {
    const socket = await connect().catch((cause: unknown) => {
      throw writerGoneError(cause); // this process has no more descriptors
    });
    if (socket === undefined) throw writerGoneError();
    const channel = new WriterChannel(socket);
    const timeout = setTimeout(() => channel.destroy(), SILENCE_MS);
    try {
      await channel.#expectResult();
    } finally {
      clearTimeout(timeout);
    }
    return channel;
  }

  private constructor(socket: Socket) {
    this.#socket = socket;
    const parser = new FrameParser({
      onMessage: (type, payload) => this.#onMessage(type, payload),
      onBody: () => socket.destroy(),
    });
    socket.on('data', (chunk: Buffer) => {
      try {
        parser.push(chunk);
      } catch {
        socket.destroy(); // not one of our processes
      }
    });
    socket.on('error', () => {}); // 'close' follows
    socket.on('end', () => socket.destroy());
    socket.on('close', () => {
      this.#settle((pending) => pending.reject(writerGoneError()));
      this.onClosed();
    });
  }

  /** Whether the connection cannot be used for another request. */
  get isClosed(): boolean {
    return !this.#socket.writable;
  }

  ref(): void {
    this.#socket.ref();
  }

  unref(): void {
    this.#socket.unref();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  /**
   * Sends a request and resolves to its result.
   *
   * @param body complete body of an upload
   */
  request(request: WriterRequest, body?: Uint8Array): Promise<object> {
    const result = this.#expectResult();
    if (!this.isClosed) sendMessage(this.#socket, FRAME.request, request, body);
    return result;
  }

  #expectResult(): Promise<object> {
    return new Promise<object>((resolve, reject) => {
      if (this.isClosed) reject(writerGoneError());
      else this.#pending = { resolve, reject };
    });
  }

  /** Sends an upload whose body has arrived. If the upload fails, the caller must destroy the connection. */
  async uploadBytes(key: string, bytes: Uint8Array, options: Partial<PutOptions>): Promise<PutResult> {
    const { signal, metadata, ifAbsent } = options;
    signal?.throwIfAborted();
    // The writer discards the upload when the connection is half-closed.
    const onAbort = (): void => void this.#socket.end();
    signal?.addEventListener('abort', onAbort);
    try {
      const result = await this.request({ kind: 'put', key, size: bytes.byteLength, metadata, ifAbsent }, bytes);
      return result as PutResult; // the result of the request
    } catch (error) {
      throw signal?.aborted ? signal.reason : error;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** Sends an upload while its body arrives. If the body fails, the caller must destroy the connection. */
  async upload(key: string, body: Readable, options: Partial<PutOptions>): Promise<PutResult> {
    const { signal, metadata, ifAbsent } = options;
    // An invalid size is not announced: the upload fails when the body ends.
    const size = Number.isSafeInteger(options.size) && Number(options.size) >= 0 ? options.size : undefined;
    const socket = this.#socket;
    let isSettled = false;
    // The request and the beginning of the body are sent with one system call.
    socket.cork();
    setImmediate(() => socket.uncork());
    const result = this.request({ kind: 'put', key, size, metadata, ifAbsent }).finally(() => {
      isSettled = true;
    });
    const onAbort = (): void => void socket.end();
    signal?.addEventListener('abort', onAbort);
    try {
      const sent = (async () => {
        for await (const chunk of chunksOf(body, options, Number.POSITIVE_INFINITY)) {
          if (isSettled) return; // the writer has refused the upload
          const isBelowMark = size === undefined ? sendBytes(socket, FRAME.data, chunk) : socket.write(chunk);
          if (!isBelowMark) await drained(socket);
        }
        if (!isSettled) sendBytes(socket, FRAME.end);
      })();
      sent.catch(() => {}); // the caller discards the body if the writer refuses the upload
      // The writer can refuse an upload before its end, and the body can fail before there is a result.
      await Promise.race([sent, result]);
      return (await result) as PutResult; // the result of the request
    } catch (error) {
      // The writer discards the upload when the connection is half-closed.
      socket.end();
      await Promise.race([result.catch(() => {}), delay(DISCARD_TIMEOUT_MS, undefined, { ref: false })]);
      throw signal?.aborted ? signal.reason : error;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** Sends a purge. If it fails, the caller must destroy the connection. */
  async purge({ usedBefore, ...filter }: PurgeFilter, options: PurgeOptions): Promise<PurgeResult> {
    const { signal, dryRun, onProgress } = options;
    signal?.throwIfAborted();
    const result = this.request({ kind: 'purge', filter, usedBefore: usedBefore?.getTime(), dryRun });
    // The writer stops the purge when the connection is half-closed.
    const onAbort = (): void => void this.#socket.end();
    signal?.addEventListener('abort', onAbort);
    const failed = new Promise<never>((_resolve, reject) => {
      if (this.#pending === undefined) return;
      this.#pending.onProgress = (progress) => {
        try {
          onProgress?.(progress);
        } catch (error) {
          reject(error);
        }
      };
    });
    try {
      return (await Promise.race([result, failed])) as PurgeResult; // the result of the request
    } catch (error) {
      this.#socket.end();
      await Promise.race([result.catch(() => {}), delay(DISCARD_TIMEOUT_MS, undefined, { ref: false })]);
      throw signal?.aborted ? signal.reason : error;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** Reports reads. If the writer does not receive them, they are dropped, so that they do not take memory. */
  sendReads(keys: readonly string[]): void {
    if (!this.isClosed && !this.#socket.writableNeedDrain) sendMessage(this.#socket, FRAME.reads, keys);
  }

  #onMessage(type: number, payload: Buffer): void {
    this.heardAt = performance.now();
    const message = payload.byteLength === 0 ? {} : JSON.parse(payload.toString());
    if (type === FRAME.hello || type === FRAME.result) this.#settle((pending) => pending.resolve(message));
    else if (type === FRAME.error) this.#settle((pending) => pending.reject(decodeError(message)));
    else if (type === FRAME.stats) this.onStats(message);
    else if (type === FRAME.progress) this.#pending?.onProgress?.(message);
    else if (type === FRAME.release) void this.#acknowledge(message, releaseFile(String(message.path)));
    else if (type === FRAME.ending) void this.#acknowledge(message, this.onEnding());
  }

  /** Tells the writer that one of its messages is processed. */
  async #acknowledge({ id }: { readonly id: number }, processed: Promise<void>): Promise<void> {
    await processed.catch(() => {}); // the writer cannot do anything about it
    if (!this.isClosed) sendMessage(this.#socket, FRAME.done, { id });
  }

  #settle(use: (pending: PendingResult) => void): void {
    const pending = this.#pending;
    this.#pending = undefined;
    if (pending !== undefined) use(pending);
  }
}

/** Resolves when more bytes can be sent, or when the connection is closed. */
function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.destroyed) return resolve();
    const done = (): void => {
      socket.off('drain', done);
      socket.off('close', done);
      resolve();
    };
    socket.on('drain', done);
    socket.on('close', done);
  });
}
