import { HotblobError } from '../errors.js';
import type { PooledBuffer } from './buffer-pool.js';
import { type MapPolicy, mappedWindow, type Region, refusal } from './mapped.js';
import type { Source, Transfer, Window } from './source.js';

/** A partial copy below this size is not worth a write of its own. */
const WORTHWHILE_BYTES = 16 * 1024;

/** Which ways to go. */
export interface FilePolicy {
  readonly map: MapPolicy;
  /** Only this way, and reads where it is closed. For tests. */
  readonly only: 'mapped' | 'copied' | 'read' | undefined;
}

/**
 * The windows of a file region, each by the cheapest safe way that is open at that moment: mapped, copied from the page
 * cache, read on the thread pool. While it reads it is one window ahead of the writes.
 */
export class FileSource implements Source {
  readonly #transfer: Transfer;
  readonly #region: Region;
  readonly #mayMap: boolean;
  readonly #mayCopy: boolean;
  #ahead: Window | undefined | Promise<Window | undefined>;

  /** Takes over the caller's use of `region.file`, and leaves it when closed. */
  constructor(transfer: Transfer, region: Region, policy: FilePolicy) {
    this.#transfer = transfer;
    this.#region = region;
    this.#mayCopy = policy.only === undefined || policy.only === 'copied';
    const off = policy.only !== undefined && policy.only !== 'mapped';
    const reason = off ? 'off' : refusal(transfer, region, policy.map, policy.only === 'mapped');
    this.#mayMap = reason === undefined;
    if (reason !== undefined) transfer.record.unmapped(reason);
  }

  next(position: number, length: number): Window | undefined | Promise<Window | undefined> {
    const window = this.#ahead ?? this.#mapped(position, length) ?? this.#filled(position, length);
    this.#ahead = undefined;
    return window instanceof Promise ? window.then((read) => this.#readAhead(read, position, length)) : window;
  }

  close(): void {
    const ahead = this.#ahead;
    this.#region.file.leave();
    if (ahead instanceof Promise) ahead.then((window) => window?.release(), ignore);
    else ahead?.release();
  }

  #mapped(position: number, length: number): Window | undefined {
    if (!this.#mayMap) return undefined;
    const window = mappedWindow(this.#transfer, this.#region, position, length);
    if (typeof window === 'object') return window;
    this.#transfer.record.unmapped(window);
    return undefined;
  }

  #filled(position: number, length: number): Window | Promise<Window> {
    const { exchange, connection, leases } = this.#transfer;
    const room = connection.room(length);
    const buffer = leases.takeBuffer(connection, room);
    if (buffer !== undefined) return this.#fill(buffer, position, room);
    return leases.waitForBuffer(exchange, connection, room).then((served) => this.#fill(served, position, room));
  }

  /** After a window that had to be read the next one is prepared at once, if there is a buffer to spare. */
  #readAhead(window: Window | undefined, position: number, length: number): Window | undefined {
    const start = position + (window?.length ?? 0);
    const { connection, leases } = this.#transfer;
    const room = connection.room(Math.min(length, this.#region.end - start));
    if (room <= 0) return window;
    const buffer = leases.takeBuffer(connection, room);
    if (buffer === undefined) return window;
    this.#ahead = this.#fill(buffer, start, room);
    // Whoever asks for it next sees the failure; if nobody asks, it is nobody's.
    if (this.#ahead instanceof Promise) this.#ahead.catch(ignore);
    return window;
  }

  /** Fills a buffer with what is in the page cache, or else from the disk. Owns the buffer, whatever happens. */
  #fill(buffer: PooledBuffer, position: number, room: number): Window | Promise<Window> {
    const { file } = this.#region;
    const length = Math.min(room, buffer.memory.byteLength);
    const copied = this.#mayCopy ? file.copyResident(buffer, length, position) : 0;
    if (copied === length || copied >= WORTHWHILE_BYTES)
      return new FilledWindow(this.#transfer, buffer, copied, 'copied');
    return this.#read(buffer, position, length);
  }

  async #read(buffer: PooledBuffer, position: number, length: number): Promise<Window> {
    const { connection, leases } = this.#transfer;
    try {
      const bytesRead = await this.#region.file.read(buffer.memory, length, position);
      if (bytesRead > 0) return new FilledWindow(this.#transfer, buffer, bytesRead, 'read');
    } catch (error) {
      leases.giveBuffer(connection, buffer, true);
      throw error;
    }
    leases.giveBuffer(connection, buffer, true);
    throw new HotblobError('ERR_HOTBLOB_TRUNCATED', `the file ended at ${position} of ${this.#region.end} bytes`);
  }
}

/** A window in a pooled buffer. */
class FilledWindow implements Window {
  readonly chunks: readonly Uint8Array[];
  readonly length: number;
  readonly source: 'copied' | 'read';
  readonly #transfer: Transfer;
  readonly #buffer: PooledBuffer;
  readonly #surplus: number;

  constructor(transfer: Transfer, buffer: PooledBuffer, length: number, source: 'copied' | 'read') {
    this.chunks = [length === buffer.memory.byteLength ? buffer.memory : buffer.memory.subarray(0, length)];
    this.length = length;
    this.source = source;
    this.#transfer = transfer;
    this.#buffer = buffer;
    this.#surplus = transfer.connection.grant(length);
  }

  release(): void {
    const { exchange, connection, leases } = this.#transfer;
    connection.settle(this.length, this.#surplus);
    leases.giveBuffer(connection, this.#buffer, exchange.tracked);
  }
}

function ignore(): void {}
