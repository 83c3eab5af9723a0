import { HotblobError } from '../contract/errors.js';
import type { Exchange } from '../contract/exchange.js';
import type { MemoryPressureProvider } from '../memory/pressure.js';
import type { OpenFile } from '../page-cache/open-file.js';
import { currentLimit, type Limit } from '../util/limit.js';
import { type ArtifactRegion, type Body, BodyCache } from './body-cache.js';
import { BufferPool, type PooledBuffer } from './buffer-pool.js';
import { Connection } from './connection.js';
import { LoopBudget } from './loop-budget.js';

/** Maximum time that a response waits for its first buffer. After the headers have been sent, the wait has no limit. */
const FIRST_BUFFER_MS = 5000;

/** Total size of the idle buffers up to which they are kept, even if memory pressure is critical. */
const KEPT_BYTES = 1024 * 1024;
/** Maximum share of the pool that bodies of small artifacts may take. */
const KEPT_BODIES_SHARE = 0.25;
/** Interval at which a pool with more than `KEPT_BYTES` idle bytes is checked. */
const IDLE_CHECK_MS = 1000;
/** Number of checks after which an idle buffer or body is freed: about 30 s. */
const MAX_IDLE_CHECKS = 30;

/** Current use and limits of {@link Leases}. `HandlerStats` describes the fields. */
interface LeaseStats {
  readonly mappedBytes: number;
  readonly maxMappedBytes: number;
  readonly pooledBytes: number;
  readonly idlePooledBytes: number;
  readonly maxPooledBytes: number;
  readonly waitingForBuffers: number;
}

/**
 * Limits the bytes in flight of all responses: mapped bytes, pooled buffers, bytes per connection, and bytes per
 * iteration of the event loop.
 */
export class Leases {
  readonly pressure: MemoryPressureProvider;
  readonly loopBudget = new LoopBudget();
  readonly #processes: Limit;
  readonly #pool: BufferPool;
  readonly #bodies = new BodyCache(() => this.#onBodyIdle());
  readonly #connections = new WeakMap<object, Connection>();
  #mappedBytes = 0;
  #idleTimer: NodeJS.Timeout | undefined;

  /** @param processes number of processes on this host that share the headroom of `pressure` */
  constructor(maxPooledBytes: Limit, pressure: MemoryPressureProvider, processes: Limit = 1) {
    this.#pool = new BufferPool(maxPooledBytes, this.#bodies);
    this.pressure = pressure;
    this.#processes = processes;
  }

  /** Maximum number of mapped bytes in flight, under the current memory pressure. */
  get maxMappedBytes(): number {
    return this.pressure.headroomBytes / currentLimit(this.#processes);
  }

  stats(): LeaseStats {
    return {
      mappedBytes: this.#mappedBytes,
      maxMappedBytes: this.maxMappedBytes,
      pooledBytes: this.#pool.lentBytes + this.#bodies.usedBytes,
      idlePooledBytes: this.#idleBytes,
      maxPooledBytes: this.#pool.maxPooledBytes,
      waitingForBuffers: this.#pool.waiting,
    };
  }

  /** Returns the limits of the connection of an exchange. */
  connection(exchange: Exchange): Connection {
    let connection = this.#connections.get(exchange.connection);
    if (connection === undefined) {
      connection = new Connection(exchange.multiplexed);
      this.#connections.set(exchange.connection, connection);
    }
    return connection;
  }

  /**
   * Leases the mapped bytes of a window. Returns false and leases nothing if that would exceed {@link maxMappedBytes}.
   */
  leaseMapped(file: OpenFile, start: number, end: number): boolean {
    this.#mappedBytes += file.lease(start, end);
    if (this.#mappedBytes <= this.maxMappedBytes) return true;
    this.releaseMapped(file, start, end);
    return false;
  }

  releaseMapped(file: OpenFile, start: number, end: number): void {
    this.#mappedBytes -= file.releaseLease(start, end);
  }

  /**
   * Returns the body of an immutable artifact, if it is kept in memory or can be kept from now on. The caller calls
   * `release` once, when nothing reads the body any more.
   */
  acquireBody(region: ArtifactRegion): Body | undefined {
    let body = this.#bodies.get(region);
    if (body === undefined) {
      if (this.pressure.level !== 'normal') return undefined;
      body = this.#bodies.keep(region, this.#maxKeptBytes);
      if (body === undefined) return undefined;
    }
    body.retain();
    return body;
  }

  /**
   * Counts the copy that TLS makes of `bytes` bytes in memory like a buffer on loan. Plain connections copy nothing. Returns
   * false and counts nothing if no buffer of this size is available now. Otherwise, the caller calls {@link uncountCopy} once.
   */
  countCopy({ plain }: Exchange, connection: Connection, bytes: number): boolean {
    return plain || this.#pool.count(connection, bytes);
  }

  uncountCopy({ plain }: Exchange, connection: Connection, bytes: number): void {
    if (!plain) this.#pool.uncount(connection, bytes);
  }

  /** See {@link BufferPool.acquire}. */
  acquireBuffer(connection: Connection, length: number): PooledBuffer | undefined {
    return this.#pool.acquire(connection, length);
  }

  /** See {@link BufferPool.acquireSpare}. */
  acquireSpareBuffer(connection: Connection, length: number): PooledBuffer | undefined {
    return this.#pool.acquireSpare(connection, length);
  }

  /**
   * Waits for a buffer.
   *
   * @throws HotblobError `ERR_HOTBLOB_OVERLOADED` if there is no buffer after 5 s and the headers have not been sent
   * @throws HotblobError `ERR_HOTBLOB_CLIENT_GONE` if the exchange is closed first
   */
  async waitForBuffer(exchange: Exchange, connection: Connection, length: number): Promise<PooledBuffer> {
    const { buffer, cancel } = this.#pool.wait(connection, length);
    const offClose = exchange.onClose(cancel);
    const timer = exchange.headersSent ? undefined : setTimeout(cancel, FIRST_BUFFER_MS);
    const acquired = await buffer;
    clearTimeout(timer);
    offClose();
    if (acquired !== undefined) return acquired;
    if (exchange.closed) {
      throw new HotblobError(
        'ERR_HOTBLOB_CLIENT_GONE',
        'the client disconnected while its response waited for a buffer',
      );
    }
    const message = `no buffer became free within ${FIRST_BUFFER_MS} ms (maxPooledBytes: ${this.#pool.maxPooledBytes})`;
    throw new HotblobError('ERR_HOTBLOB_OVERLOADED', message);
  }

  /** See {@link BufferPool.release}. */
  releaseBuffer(connection: Connection, buffer: PooledBuffer, reusable: boolean): void {
    this.#pool.release(connection, buffer, reusable);
    this.#watchIdle();
  }

  get #idleBytes(): number {
    return this.#pool.idleBytes + this.#bodies.bytes - this.#bodies.usedBytes;
  }

  get #maxKeptBytes(): number {
    return Math.min(this.#pool.maxPooledBytes * KEPT_BODIES_SHARE, this.#pool.spareBytes);
  }

  #onBodyIdle(): void {
    this.#pool.serveWaiters();
    if (this.#idleTimer === undefined) this.#watchIdle();
  }

  /** Frees idle memory if memory pressure is critical, otherwise when it has been idle for long. */
  #watchIdle(): void {
    if (this.#idleBytes <= KEPT_BYTES) return;
    if (this.pressure.level === 'critical') this.#freeIdle();
    // The timer is unreferenced, so it does not keep the process alive. It is cleared when few bytes are idle.
    else this.#idleTimer ??= setInterval(() => this.#checkIdle(), IDLE_CHECK_MS).unref();
  }

  /** Frees idle memory. A timer calls it, because a server without requests releases no buffers. */
  #checkIdle(): void {
    this.#pool.tick(MAX_IDLE_CHECKS);
    this.#bodies.tick(MAX_IDLE_CHECKS);
    this.#bodies.shrink(this.#maxKeptBytes);
    if (this.pressure.level === 'critical' && this.#idleBytes > KEPT_BYTES) this.#freeIdle();
    if (this.#idleBytes > KEPT_BYTES) return;
    clearInterval(this.#idleTimer);
    this.#idleTimer = undefined;
  }

  #freeIdle(): void {
    this.#pool.freeIdle();
    this.#bodies.shrink(0);
  }
}
