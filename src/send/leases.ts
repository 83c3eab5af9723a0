import { HotblobError } from '../contract/errors.js';
import type { Exchange } from '../contract/exchange.js';
import type { MemoryPressureProvider } from '../memory/pressure.js';
import type { OpenFile } from '../page-cache/open-file.js';
import { BufferPool, type PooledBuffer } from './buffer-pool.js';
import { Connection } from './connection.js';
import { Turns } from './turns.js';

/** A request waits at most this long for its first buffer; once its headers are out it waits for its turn. */
const FIRST_BUFFER_MS = 5000;

/** So many bytes of idle buffers are kept even when memory is critical. */
const KEPT_BYTES = 1024 * 1024;

/** What is on loan, and how much may be; `HandlerStats` says what each is. */
export interface LeaseStats {
  readonly mappedBytes: number;
  readonly maxMappedBytes: number;
  readonly pooledBytes: number;
  readonly idlePooledBytes: number;
  readonly maxPooledBytes: number;
  readonly waitingForBuffers: number;
}

/** All that bounds what is being sent: mapped bytes, pooled buffers, what each connection has in flight, turns of the loop. */
export class Leases {
  readonly pressure: MemoryPressureProvider;
  readonly #processes: number;
  readonly turns = new Turns();
  readonly #pool: BufferPool;
  readonly #connections = new WeakMap<object, Connection>();
  #mappedBytes = 0;

  /** @param processes how many share the serving pool of the host */
  constructor(maxPooledBytes: number, pressure: MemoryPressureProvider, processes = 1) {
    this.#pool = new BufferPool(maxPooledBytes);
    this.pressure = pressure;
    this.#processes = processes;
  }

  /** How many bytes of mappings may be in flight. */
  get servingPoolBytes(): number {
    return this.pressure.headroomBytes / this.#processes;
  }

  /** Bytes of mappings that are being sent; parts that several responses send count once. */
  get mappedBytes(): number {
    return this.#mappedBytes;
  }

  /** Bytes of pooled buffers on loan. */
  get pooledBytes(): number {
    return this.#pool.lentBytes;
  }

  /** What is on loan, and how much may be. */
  stats(): LeaseStats {
    return {
      mappedBytes: this.#mappedBytes,
      maxMappedBytes: this.servingPoolBytes,
      pooledBytes: this.#pool.lentBytes,
      idlePooledBytes: this.#pool.idleBytes,
      maxPooledBytes: this.#pool.limitBytes,
      waitingForBuffers: this.#pool.waiting,
    };
  }

  /** What is known of the peer of an exchange. */
  connection(exchange: Exchange): Connection {
    let connection = this.#connections.get(exchange.connection);
    if (connection === undefined) {
      connection = new Connection(exchange.multiplexed);
      this.#connections.set(exchange.connection, connection);
    }
    return connection;
  }

  /** Lends a window of a file's mappings, or refuses where the serving pool has no room for it. */
  lendMapped(file: OpenFile, start: number, end: number): boolean {
    this.#mappedBytes += file.lend(start, end);
    if (this.#mappedBytes <= this.servingPoolBytes) return true;
    this.takeBackMapped(file, start, end);
    return false;
  }

  takeBackMapped(file: OpenFile, start: number, end: number): void {
    this.#mappedBytes -= file.takeBack(start, end);
  }

  /** A buffer for up to `length` bytes if one is free now. */
  takeBuffer(connection: Connection, length: number): PooledBuffer | undefined {
    return this.#pool.take(connection, length);
  }

  /** The same for one to read ahead into, where others do not need it more. */
  takeSpareBuffer(connection: Connection, length: number): PooledBuffer | undefined {
    return this.#pool.takeSpare(connection, length);
  }

  /**
   * Waits for a buffer.
   *
   * @throws HotblobError `ERR_HOTBLOB_OVERLOADED` after 5 s when the headers are not out, `ERR_HOTBLOB_CLIENT_GONE` when
   * the exchange closes first
   */
  async waitForBuffer(exchange: Exchange, connection: Connection, length: number): Promise<PooledBuffer> {
    const { buffer, cancel } = this.#pool.wait(connection, length);
    const offClose = exchange.onClose(cancel);
    const timer = exchange.headersSent ? undefined : setTimeout(cancel, FIRST_BUFFER_MS);
    const served = await buffer;
    clearTimeout(timer);
    offClose();
    if (served !== undefined) return served;
    if (exchange.closed)
      throw new HotblobError('ERR_HOTBLOB_CLIENT_GONE', 'the client left while waiting for a buffer');
    throw new HotblobError('ERR_HOTBLOB_OVERLOADED', `no buffer was free within ${FIRST_BUFFER_MS} ms`);
  }

  giveBuffer(connection: Connection, buffer: PooledBuffer, reusable: boolean): void {
    this.#pool.give(connection, buffer, reusable);
    if (this.#pool.idleBytes > KEPT_BYTES && this.pressure.level === 'critical') this.#pool.trim();
  }
}
