import type { Socket } from 'node:net';
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import { type FileHolder, holders } from '../../page-cache/release-file.js';
import { prefixOf } from '../../util/prefix-of.js';
import { ReaderConnection } from './reader-connection.js';
import { writerGoneError } from './remote-error.js';
import type { WritableStore } from './store-access.js';

/** Interval at which readers get the statistics of the store, in milliseconds. */
const STATS_INTERVAL_MS = 1000;
/** Time in milliseconds in which requests in flight usually complete. */
const USUAL_MS = 1000;

/** Limits of the two phases of {@link Writer.drain}. */
export interface DrainLimits {
  /** Time in milliseconds that uploads in flight have before the readers stop sending requests. */
  readonly acceptMs: number;
  /** Time in milliseconds for the rest. New requests wait meanwhile, so it is shorter than their time limit. */
  readonly finishMs: number;
}

/** The sum is less than the time that `runProcesses` gives a process by default to end, 40 s. */
const DRAIN_LIMITS: DrainLimits = { acceptMs: 30_000, finishMs: 5000 };

/** Executes the writes of the other processes, and notifies them of files that are deleted or replaced. */
export class Writer implements FileHolder {
  readonly #store: Promise<WritableStore>;
  /** The store, once it is open. */
  #opened: WritableStore | undefined;
  readonly #prefix: string;
  readonly #connections = new Set<ReaderConnection>();
  readonly #running = new Set<Promise<unknown>>();
  readonly #timer: NodeJS.Timeout;
  /** Aborted when the process stops being the writer. */
  readonly #ending = new AbortController();
  #isDraining = false;
  #isClosing = false;

  /**
   * @param store requests wait until it is open
   * @param root directory of the store
   */
  constructor(store: Promise<WritableStore>, root: string) {
    this.#store = store;
    this.#prefix = prefixOf(root);
    void store.then((opened) => {
      this.#opened = opened;
    });
    this.#timer = setInterval(() => this.#sendStats(), STATS_INTERVAL_MS).unref();
    holders.add(this);
  }

  /** Accepts the connection of another process. */
  accept(socket: Socket): void {
    if (this.#isClosing) {
      socket.destroy();
      return;
    }
    const connection = new ReaderConnection(socket, {
      store: this.#store,
      run: (task) => this.#run(task),
      acceptsReaders: () => !this.#isDraining,
      ending: this.#ending.signal,
      onClosed: () => this.#connections.delete(connection),
    });
    this.#connections.add(connection);
  }

  releaseFile(path: string): Promise<void> | undefined {
    if (!path.startsWith(this.#prefix)) return undefined;
    const waiting = [...this.#connections].flatMap((connection) => connection.release(path) ?? []);
    return waiting.length === 0 ? undefined : Promise.all(waiting).then(() => {});
  }

  /**
   * Waits for the requests in flight, and ends the role of this process as the writer. While slow uploads complete, the process
   * accepts further requests, because there is no other writer. Then it asks the other processes to send no more, and cancels what
   * is still in flight after `finishMs`. Purges are stopped at once.
   */
  async drain({ acceptMs, finishMs }: DrainLimits = DRAIN_LIMITS): Promise<void> {
    this.#ending.abort(writerGoneError());
    await this.#completeSlow(acceptMs);
    this.#isDraining = true;
    const finished = new AbortController();
    const cancelling = delay(finishMs, undefined, { signal: finished.signal }).then(
      () => this.#cancel(),
      () => {}, // all requests have completed
    );
    await Promise.all([...this.#connections].map((connection) => connection.announceEnd()));
    do {
      await Promise.allSettled(this.#running);
      // A request that was sent before the announcement may still arrive, on another connection.
      await nextTurn();
    } while (this.#running.size > 0);
    this.#isClosing = true;
    finished.abort();
    await cancelling;
  }

  /** Waits until the requests in flight take no longer than usual, at most for `limitMs`. */
  async #completeSlow(limitMs: number): Promise<void> {
    const ended = new AbortController();
    const limit = delay(limitMs, undefined, { signal: ended.signal }).catch(() => {});
    const deadline = performance.now() + limitMs;
    let start: number;
    do {
      start = performance.now();
      await Promise.race([Promise.allSettled(this.#running), limit]);
      // Requests that have arrived during a long wait may be slow too.
    } while (performance.now() - start > USUAL_MS && performance.now() < deadline);
    ended.abort();
  }

  /** Cancels the requests in flight. The other processes get the error `ERR_HOTBLOB_WRITER_GONE`. */
  #cancel(): void {
    this.#isClosing = true;
    for (const connection of this.#connections) connection.cancel();
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

  #sendStats(): void {
    if (this.#connections.size === 0) return;
    const stats = this.#opened?.stats() ?? {};
    for (const connection of this.#connections) connection.sendStats(stats);
  }
}
