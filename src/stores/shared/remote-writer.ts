import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { PutOptions, PutResult, StoreStats } from '../../contract/store.js';
import { releaseFile } from '../../page-cache/release-file.js';
import { chunksOf } from '../body.js';
import { FRAME, FrameParser, sendFrame } from './frames.js';
import { decodeError, writerGoneError } from './remote-error.js';
import type { WriterRequest } from './writer.js';

/** Time that a failed upload waits until the writer has discarded it, in milliseconds. */
const DISCARD_TIMEOUT_MS = 5000;
/** Maximum number of idle connections that are kept for further requests. */
const MAX_IDLE = 8;

export interface WriterEvents {
  onEnding(): void;
  onClosed(): void;
}

/** Writer in another process. */
export class RemoteWriter {
  readonly #connect: () => Promise<Socket | undefined>;
  readonly #control: Exchange;
  readonly #idle: Exchange[] = [];
  readonly #busy = new Set<Exchange>();
  /** Statistics of the store of the writer. */
  stats: StoreStats;

  /**
   * Connects to the writer, and waits until its store is open. Resolves to undefined if there is no writer.
   *
   * @param connect opens a connection to the writer
   * @param events called when the writer is about to close its store, and when it has ended or closed it
   */
  static async attach(
    connect: () => Promise<Socket | undefined>,
    events: WriterEvents,
  ): Promise<RemoteWriter | undefined> {
    const socket = await connect();
    if (socket === undefined) return undefined;
    const control = new Exchange(socket);
    try {
      const stats = await control.request({ kind: 'attach' });
      return new RemoteWriter(connect, control, stats as StoreStats, events); // the writer answers with its statistics
    } catch {
      control.destroy();
      return undefined;
    }
  }

  private constructor(
    connect: () => Promise<Socket | undefined>,
    control: Exchange,
    stats: StoreStats,
    { onEnding, onClosed }: WriterEvents,
  ) {
    this.#connect = connect;
    this.#control = control;
    this.stats = stats;
    control.onStats = (changed) => {
      this.stats = changed;
    };
    control.onEnding = onEnding;
    control.onClosed = () => {
      this.close();
      onClosed();
    };
    if (control.isClosed) setImmediate(control.onClosed);
  }

  /** @throws HotblobError `ERR_HOTBLOB_WRITER_GONE` if the writer ends before the result arrives */
  async put(key: string, body: Readable, options: Partial<PutOptions>): Promise<PutResult> {
    const { size, metadata, ifAbsent } = options;
    return this.#with(async (exchange) => {
      const request: WriterRequest = { kind: 'put', key, size, metadata, ifAbsent };
      return exchange.upload(request, body, options);
    });
  }

  /** @throws HotblobError `ERR_HOTBLOB_WRITER_GONE` if the writer ends before the result arrives */
  async delete(key: string): Promise<boolean> {
    const { existed } = (await this.#with((exchange) => exchange.request({ kind: 'delete', key }))) as {
      existed: boolean; // the result of a deletion
    };
    return existed;
  }

  get isClosed(): boolean {
    return this.#control.isClosed;
  }

  sendReads(keys: readonly string[]): void {
    this.#control.sendReads(keys);
  }

  close(): void {
    this.#control.destroy();
    for (const exchange of [...this.#idle, ...this.#busy]) exchange.destroy();
  }

  async #with<T>(use: (exchange: Exchange) => Promise<T>): Promise<T> {
    let exchange = this.#idle.pop();
    while (exchange?.isClosed) exchange = this.#idle.pop();
    if (exchange === undefined) {
      const socket = await this.#connect();
      if (socket === undefined) throw writerGoneError();
      exchange = new Exchange(socket);
    }
    this.#busy.add(exchange);
    exchange.ref();
    try {
      const result = await use(exchange);
      if (this.#idle.length < MAX_IDLE && !this.#control.isClosed) this.#idle.push(exchange);
      else exchange.destroy();
      return result;
    } catch (error) {
      exchange.destroy();
      throw error;
    } finally {
      exchange.unref();
      this.#busy.delete(exchange);
    }
  }
}

interface PendingResult {
  resolve(result: object): void;
  reject(error: Error): void;
}

/** Connection to the writer, for one request at a time. */
class Exchange {
  readonly #socket: Socket;
  #pending: PendingResult | undefined;
  onStats = (_stats: StoreStats): void => {};
  onEnding = (): void => {};
  onClosed = (): void => {};

  constructor(socket: Socket) {
    this.#socket = socket;
    const parser = new FrameParser({
      onMessage: (type, payload) => this.#onMessage(type, payload),
      onBody: () => socket.destroy(),
    });
    socket.on('data', (chunk: Buffer) => parser.push(chunk));
    socket.on('error', () => {}); // 'close' follows
    socket.on('end', () => socket.destroy());
    socket.on('close', () => {
      this.#settle((pending) => pending.reject(writerGoneError()));
      this.onClosed();
    });
  }

  get isClosed(): boolean {
    return this.#socket.destroyed;
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

  /** Sends a request and resolves to its result. */
  request(request: WriterRequest): Promise<object> {
    const result = new Promise<object>((resolve, reject) => {
      this.#pending = { resolve, reject };
    });
    if (this.isClosed) this.#settle((pending) => pending.reject(writerGoneError()));
    else sendFrame(this.#socket, FRAME.request, request);
    return result;
  }

  /** Sends an upload as its body arrives. If the body fails, the connection has to be destroyed. */
  async upload(request: WriterRequest, body: Readable, options: Partial<PutOptions>): Promise<PutResult> {
    let isSettled = false;
    const result = this.request(request).finally(() => {
      isSettled = true;
    });
    const socket = this.#socket;
    const onAbort = (): void => void socket.end();
    options.signal?.addEventListener('abort', onAbort);
    // The request and the beginning of the body leave in one system call.
    socket.cork();
    setImmediate(() => socket.uncork());
    try {
      const sent = (async () => {
        for await (const chunk of chunksOf(body, options, Number.POSITIVE_INFINITY)) {
          if (isSettled) break; // the writer has refused the upload
          const isBelowMark = options.size === undefined ? sendFrame(socket, FRAME.data, chunk) : socket.write(chunk);
          if (!isBelowMark) await drained(socket);
        }
        if (!isSettled) sendFrame(socket, FRAME.end);
      })();
      sent.catch(() => {}); // the caller discards the body if the writer refuses the upload
      // The writer refuses an upload before its end, and the body may fail before there is a result.
      await Promise.race([sent, result]);
      return await result;
    } catch (error) {
      // The writer discards the upload when the connection is half-closed.
      socket.end();
      await Promise.race([result.catch(() => {}), delay(DISCARD_TIMEOUT_MS, undefined, { ref: false })]);
      throw options.signal?.aborted ? options.signal.reason : error;
    } finally {
      options.signal?.removeEventListener('abort', onAbort);
    }
  }

  sendReads(keys: readonly string[]): void {
    if (!this.isClosed) sendFrame(this.#socket, FRAME.reads, keys);
  }

  #onMessage(type: number, payload: Buffer): void {
    const message = JSON.parse(payload.toString());
    if (type === FRAME.result) this.#settle((pending) => pending.resolve(message));
    else if (type === FRAME.error) this.#settle((pending) => pending.reject(decodeError(message)));
    else if (type === FRAME.stats) this.onStats(message);
    else if (type === FRAME.release) void this.#release(message);
    else if (type === FRAME.ending) {
      this.onEnding();
      sendFrame(this.#socket, FRAME.done, message);
    }
  }

  async #release({ id, path }: { readonly id: number; readonly path: string }): Promise<void> {
    await releaseFile(path);
    if (!this.isClosed) sendFrame(this.#socket, FRAME.done, { id });
  }

  #settle(use: (pending: PendingResult) => void): void {
    const pending = this.#pending;
    this.#pending = undefined;
    if (pending !== undefined) use(pending);
  }
}

/** Resolves when more bytes can be sent, or when the connection is closed. */
async function drained(socket: Socket): Promise<void> {
  if (socket.destroyed) return;
  const controller = new AbortController();
  try {
    await Promise.race(['drain', 'close'].map((event) => once(socket, event, { signal: controller.signal })));
  } catch {
    // The connection failed, which rejects the result.
  } finally {
    controller.abort();
  }
}
