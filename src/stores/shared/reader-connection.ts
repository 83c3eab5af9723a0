import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { HotblobError } from '../../contract/errors.js';
import type { StoreStats } from '../../contract/store.js';
import { recordRead } from '../record-read.js';
import { FRAME, FrameParser, type FrameType, sendBytes, sendMessage } from './frames.js';
import { encodeError, writerGoneError } from './remote-error.js';
import type { WritableStore } from './store-access.js';
import type { WriterRequest } from './writer-request.js';

/**
 * Maximum time in milliseconds that a deletion or replacement waits until all readers have closed the file. A longer wait is not
 * needed: after one second, the handler of a reader checks a file itself.
 */
const NOTICE_TIMEOUT_MS = 1000;
/** Size of the unsent messages at which a reader is disconnected, because it does not receive them. It connects again later. */
const MAX_UNSENT_BYTES = 1024 * 1024;

/** Number of bytes of a body in memory at which the connection is paused. The kernel returns at most 64 KiB at a time. */
const MAX_BODY_BYTES = 256 * 1024;

interface ConnectionContext {
  readonly store: Promise<WritableStore>;
  run<T>(task: () => Promise<T>): Promise<T>;
  /** Whether a reader may attach. */
  acceptsReaders(): boolean;
  /** Aborted when the writer is about to close its store. Purges do not delay it. */
  readonly ending: AbortSignal;
  onClosed(): void;
}

/** Connection of a reader to the writer, in the writer. Carries one request at a time or, after `attach`, messages of both sides. */
export class ReaderConnection {
  readonly #socket: Socket;
  readonly #context: ConnectionContext;
  readonly #parser: FrameParser;
  /** Aborted when the connection is closed. */
  readonly #gone = new AbortController();
  #body: Readable | undefined;
  #isResponding = false;
  #role: 'requests' | 'attaching' | 'attached' = 'requests';
  /** Functions that end the wait until the reader has processed a message, by the number of the message. */
  readonly #notices = new Map<number, () => void>();
  #noticeCount = 0;
  /** Whether the reader did not respond in time to the last message. */
  #isSlow = false;

  constructor(socket: Socket, context: ConnectionContext) {
    this.#socket = socket;
    this.#context = context;
    this.#parser = new FrameParser({
      onMessage: (type, payload) => this.#onMessage(type, payload),
      onBody: (chunk) => {
        if (this.#body?.push(chunk) === false) socket.pause();
      },
    });
    socket.unref();
    socket.on('error', () => {}); // 'close' follows
    socket.on('data', (chunk: Buffer) => {
      try {
        this.#parser.push(chunk);
      } catch {
        socket.destroy(); // not one of our processes
      }
    });
    // The reader has ended, or it has cancelled its upload and waits until the upload is discarded.
    socket.on('end', () => {
      this.#abandon();
      if (!this.#isResponding) socket.destroy();
    });
    socket.on('close', () => {
      this.#abandon();
      this.#settleNotices();
      context.onClosed();
    });
    sendBytes(socket, FRAME.hello);
  }

  destroy(): void {
    this.#socket.destroy();
  }

  /** Closes the connection if a request is in progress. */
  cancel(): void {
    if (this.#isResponding) this.#socket.destroy();
  }

  /** Sends statistics to a reader that is attached or is attaching. */
  sendStats(stats: StoreStats): void {
    if (this.#role !== 'requests') this.#send(FRAME.stats, stats);
  }

  /** Makes the reader close a file. Returns undefined if there is nothing to wait for. */
  release(path: string): Promise<void> | undefined {
    return this.#notify(FRAME.release, { path });
  }

  /** Makes the reader send its next requests to the next writer. */
  announceEnd(): Promise<void> | undefined {
    return this.#notify(FRAME.ending, {});
  }

  /** Discards the upload in progress, or stops the purge. */
  #abandon(): void {
    if (this.#gone.signal.aborted) return;
    const message = 'the process that sent the request has cancelled it';
    this.#gone.abort(new HotblobError('ERR_HOTBLOB_CLIENT_GONE', message));
    this.#body?.destroy(this.#gone.signal.reason);
  }

  /** Sends a message to an attached reader, and waits until the reader has processed it. */
  #notify(type: FrameType, message: object): Promise<void> | undefined {
    if (this.#role !== 'attached') return undefined;
    const id = ++this.#noticeCount;
    this.#send(type, { id, ...message });
    // A process that is stopped delays the writer only once.
    if (this.#isSlow) return undefined;
    return new Promise((resolve) => {
      const timeout = setTimeout(() => {
        this.#isSlow = true;
        this.#settleNotices();
      }, NOTICE_TIMEOUT_MS); // keeps the process alive, because its own uploads wait too
      this.#notices.set(id, () => {
        clearTimeout(timeout);
        this.#notices.delete(id);
        resolve();
      });
    });
  }

  #settleNotices(): void {
    for (const settle of this.#notices.values()) settle();
  }

  #send(type: FrameType, message: object): void {
    sendMessage(this.#socket, type, message);
    if (this.#socket.writableLength > MAX_UNSENT_BYTES) this.#socket.destroy();
  }

  #onMessage(type: number, payload: Buffer): void {
    switch (type) {
      case FRAME.request:
        this.#onRequest(JSON.parse(payload.toString()));
        return;
      case FRAME.end:
        this.#body?.push(null);
        this.#socket.resume(); // for the next request
        return;
      case FRAME.reads:
        void this.#recordReads(JSON.parse(payload.toString()));
        return;
      case FRAME.done:
        this.#isSlow = false;
        this.#notices.get(JSON.parse(payload.toString()).id)?.();
        return;
      default:
        throw new Error(`unknown message ${type}`);
    }
  }

  #onRequest(request: WriterRequest): void {
    if (this.#isResponding || this.#role !== 'requests') throw new Error('request during another one');
    const { store, run } = this.#context;
    if (request.kind === 'put') {
      const { key, size, metadata, ifAbsent } = request;
      if (size !== undefined) this.#parser.expectBody(size);
      const body = new Readable({ highWaterMark: MAX_BODY_BYTES, read: () => void this.#socket.resume() });
      body.on('error', () => {}); // the store may have stopped reading
      this.#body = body;
      const options = { signal: this.#gone.signal, size, metadata, ifAbsent };
      void this.#respond(run(async () => (await store).put(key, body, options)));
    } else if (request.kind === 'delete') {
      void this.#respond(run(async () => ({ existed: await (await store).delete(request.key) })));
    } else if (request.kind === 'purge') {
      void this.#respond(run(() => this.#purge(request)));
    } else if (request.kind === 'check') {
      void this.#respond(run(async () => ({ exists: (await (await store).get(request.key)) !== undefined })));
    } else {
      void this.#respond(this.#attach());
    }
  }

  async #purge({ filter, usedBefore, dryRun }: Extract<WriterRequest, { kind: 'purge' }>): Promise<object> {
    const { store, ending } = this.#context;
    return (await store).purge(
      { ...filter, ...(usedBefore !== undefined && { usedBefore: new Date(usedBefore) }) },
      {
        dryRun,
        signal: AbortSignal.any([this.#gone.signal, ending]),
        onProgress: (progress) => this.#send(FRAME.progress, progress),
      },
    );
  }

  async #attach(): Promise<object> {
    if (!this.#context.acceptsReaders()) throw writerGoneError();
    this.#role = 'attaching';
    const stats = (await this.#context.store).stats();
    this.#role = 'attached';
    return stats;
  }

  async #recordReads(keys: readonly string[]): Promise<void> {
    try {
      const store = await this.#context.store;
      for (const key of keys) recordRead(store, key);
    } catch {
      this.#socket.destroy(); // the store is closed, or this is not one of our processes
    }
  }

  async #respond(result: Promise<object>): Promise<void> {
    this.#isResponding = true;
    // After an error, the rest of a body may still follow, so the connection cannot be used again.
    let isReusable = true;
    try {
      sendMessage(this.#socket, FRAME.result, await result);
    } catch (error) {
      isReusable = this.#body === undefined;
      sendMessage(this.#socket, FRAME.error, encodeError(error));
    }
    this.#body = undefined;
    this.#isResponding = false;
    if (isReusable && !this.#gone.signal.aborted) return;
    this.#socket.end();
    this.#socket.resume(); // to receive the end of the connection
  }
}
