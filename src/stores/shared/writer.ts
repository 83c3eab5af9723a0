import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { HotblobError } from '../../contract/errors.js';
import type { PutOptions, PutResult, StoreStats } from '../../contract/store.js';
import { type FileHolder, holders } from '../../page-cache/release-file.js';
import { prefixOf } from '../../util/prefix-of.js';
import { recordRead } from '../record-read.js';
import { FRAME, FrameParser, type FrameType, sendFrame } from './frames.js';
import { encodeError, writerGoneError } from './remote-error.js';

/** Interval at which readers get the statistics of the store, in milliseconds. */
const STATS_INTERVAL_MS = 1000;
/**
 * Time in milliseconds that a deletion or replacement waits until all readers have closed the file. After one second a handler
 * checks a file by itself.
 */
const NOTICE_TIMEOUT_MS = 1000;

/** Store of the process that writes. */
export interface WritableStore {
  put(key: string, body: Readable, options: PutOptions): Promise<PutResult>;
  delete(key: string): Promise<boolean>;
  stats(): StoreStats;
}

/** Request of a reader. */
export type WriterRequest =
  | { readonly kind: 'attach' }
  | { readonly kind: 'delete'; readonly key: string }
  | {
      readonly kind: 'put';
      readonly key: string;
      readonly size?: number | undefined;
      readonly metadata?: PutOptions['metadata'];
      readonly ifAbsent?: boolean | undefined;
    };

/** Executes the writes of the other processes, and tells them which files are deleted or replaced. */
export class Writer implements FileHolder {
  readonly #store: Promise<WritableStore>;
  readonly #prefix: string;
  readonly #connections = new Set<Connection>();
  readonly #running = new Set<Promise<unknown>>();
  readonly #timer: NodeJS.Timeout;
  #isClosing = false;

  /**
   * @param store requests wait until it is open
   * @param root directory of the store
   */
  constructor(store: Promise<WritableStore>, root: string) {
    this.#store = store;
    this.#prefix = prefixOf(root);
    store.catch(() => {}); // the caller handles the error
    this.#timer = setInterval(() => void this.#sendStats(), STATS_INTERVAL_MS).unref();
    holders.add(this);
  }

  /** Accepts the connection of another process. */
  accept(socket: Socket): void {
    if (this.#isClosing) {
      socket.destroy();
      return;
    }
    const connection = new Connection(socket, {
      store: this.#store,
      run: (task) => this.#run(task),
      onClosed: () => this.#connections.delete(connection),
    });
    this.#connections.add(connection);
  }

  releaseFile(path: string): Promise<void> | undefined {
    if (!path.startsWith(this.#prefix)) return undefined;
    const waiting = [...this.#connections].flatMap((connection) => connection.release(path) ?? []);
    return waiting.length === 0 ? undefined : Promise.all(waiting).then(() => {});
  }

  /** Asks the other processes to send no more requests, and waits for those in progress. */
  async drain(): Promise<void> {
    await Promise.all([...this.#connections].map((connection) => connection.announceEnd()));
    do {
      await Promise.allSettled(this.#running);
      // A request that was sent before the announcement may still arrive, on another connection.
      await nextTurn();
    } while (this.#running.size > 0);
    this.#isClosing = true;
  }

  /** Closes all connections. The other processes then elect another writer. */
  close(): void {
    this.#isClosing = true;
    clearInterval(this.#timer);
    holders.delete(this);
    for (const connection of this.#connections) connection.destroy();
  }

  async #run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#isClosing) throw writerGoneError();
    const running = task();
    this.#running.add(running);
    return running.finally(() => this.#running.delete(running));
  }

  async #sendStats(): Promise<void> {
    if (![...this.#connections].some((connection) => connection.isAttached)) return;
    const stats = (await this.#store).stats();
    for (const connection of this.#connections) connection.sendStats(stats);
  }
}

interface ConnectionContext {
  readonly store: Promise<WritableStore>;
  run<T>(task: () => Promise<T>): Promise<T>;
  onClosed(): void;
}

/** Connection of one reader: for one request at a time, or, after `attach`, for messages of both sides. */
class Connection {
  readonly #socket: Socket;
  readonly #context: ConnectionContext;
  readonly #parser: FrameParser;
  /** Aborted when the connection is closed. */
  readonly #gone = new AbortController();
  #body: Readable | undefined;
  #isResponding = false;
  isAttached = false;
  /** Ends of the waits until the reader has processed a message, by the number of the message. */
  readonly #notices = new Map<number, () => void>();
  #noticeCount = 0;
  /** Whether the reader has not responded in time to the last message. */
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
    // The reader has cancelled its upload and waits until it is discarded, or the reader has ended.
    socket.on('end', () => {
      this.#gone.abort(
        new HotblobError('ERR_HOTBLOB_CLIENT_GONE', 'the process that sent the upload has cancelled it'),
      );
      this.#body?.destroy(this.#gone.signal.reason);
      if (!this.#isResponding) socket.destroy();
    });
    socket.on('close', () => {
      this.#gone.abort();
      this.#body?.destroy();
      for (const settle of this.#notices.values()) settle();
      context.onClosed();
    });
  }

  destroy(): void {
    this.#socket.destroy();
  }

  sendStats(stats: StoreStats): void {
    if (this.isAttached) sendFrame(this.#socket, FRAME.stats, stats);
  }

  /** Makes the reader close a file. Returns undefined if there is nothing to wait for. */
  release(path: string): Promise<void> | undefined {
    return this.#notify(FRAME.release, { path });
  }

  /** Makes the reader send its next requests to the next writer. */
  announceEnd(): Promise<void> | undefined {
    return this.#notify(FRAME.ending, {});
  }

  /** Sends a message to an attached reader, and waits until the reader has processed it. */
  #notify(type: FrameType, message: object): Promise<void> | undefined {
    if (!this.isAttached) return undefined;
    const id = ++this.#noticeCount;
    sendFrame(this.#socket, type, { id, ...message });
    // A process that is stopped delays only one operation.
    if (this.#isSlow) return undefined;
    return new Promise((resolve) => {
      const timeout = setTimeout(() => {
        this.#isSlow = true;
        settle();
      }, NOTICE_TIMEOUT_MS).unref();
      const settle = (): void => {
        clearTimeout(timeout);
        this.#notices.delete(id);
        resolve();
      };
      this.#notices.set(id, settle);
    });
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
    const { store, run } = this.#context;
    if (request.kind === 'put') {
      const { key, size, metadata, ifAbsent } = request;
      if (size !== undefined) this.#parser.expectBody(size);
      const body = new Readable({ read: () => void this.#socket.resume() });
      body.on('error', () => {}); // the store may have stopped reading
      this.#body = body;
      const options = { signal: this.#gone.signal, size, metadata, ifAbsent };
      void this.#respond(run(async () => (await store).put(key, body, options)));
    } else if (request.kind === 'delete') {
      void this.#respond(run(async () => ({ existed: await (await store).delete(request.key) })));
    } else {
      void this.#respond(this.#attach());
    }
  }

  async #attach(): Promise<object> {
    const stats = (await this.#context.store).stats();
    this.isAttached = true;
    return stats;
  }

  async #recordReads(keys: readonly string[]): Promise<void> {
    const store = await this.#context.store;
    for (const key of keys) recordRead(store, key);
  }

  async #respond(result: Promise<object>): Promise<void> {
    this.#isResponding = true;
    // After an error, the rest of a body may still follow, so the connection cannot be used again.
    let isReusable = true;
    try {
      sendFrame(this.#socket, FRAME.result, await result);
    } catch (error) {
      isReusable = this.#body === undefined;
      sendFrame(this.#socket, FRAME.error, encodeError(error));
    }
    this.#body = undefined;
    this.#isResponding = false;
    if (!isReusable || this.#gone.signal.aborted) this.#socket.end();
  }
}
