import type { CopyTarget } from '../page-cache/libc.js';

/** The sizes that buffers come in. A window takes the largest that it fills and that is to be had. */
const CLASSES = [4096, 16 * 1024, 64 * 1024, 256 * 1024] as const;
/** The smallest piece in which an artifact that does not fit a smaller class is sent. */
const FLOOR_BYTES = 16 * 1024;

/** The part of a connection's share that large and spare buffers may take: the rest is for streams that ask for little. */
const UNRESERVED = 0.75;

/** A buffer on loan. It goes back by {@link BufferPool.give}, once. */
export interface PooledBuffer extends CopyTarget {
  readonly memory: Buffer;
}

/** What one connection has on loan, in bytes. The pool keeps count in it. */
export interface Borrower {
  pooledBytes: number;
}

interface Waiter {
  readonly borrower: Borrower;
  readonly length: number;
  readonly resolve: (buffer: PooledBuffer | undefined) => void;
}

/**
 * The buffers that windows are copied and read into. Their sum, idle ones included, never exceeds the limit, and no
 * connection holds more than an eighth of what the others leave free, so that one with many streams cannot take all.
 */
export class BufferPool {
  readonly limitBytes: number;
  readonly #idle: PooledBuffer[][] = CLASSES.map(() => []);
  #idleBytes = 0;
  #lentBytes = 0;
  readonly #waiting = new Set<Waiter>();

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  get idleBytes(): number {
    return this.#idleBytes;
  }

  get lentBytes(): number {
    return this.#lentBytes;
  }

  /** How many wait for a buffer. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** A buffer for up to `length` bytes, perhaps a smaller one; undefined where none is free for this borrower now. */
  take(borrower: Borrower, length: number): PooledBuffer | undefined {
    // Who came first is served first.
    return this.#waiting.size > 0 ? undefined : this.#take(borrower, length, false);
  }

  /** The same for one that its borrower can do without: it leaves the reserve alone. */
  takeSpare(borrower: Borrower, length: number): PooledBuffer | undefined {
    return this.#waiting.size > 0 ? undefined : this.#take(borrower, length, true);
  }

  /** Queues for a buffer, first come first served. `cancel` ends the wait: the promise then resolves to undefined. */
  wait(borrower: Borrower, length: number): { readonly buffer: Promise<PooledBuffer | undefined>; cancel(): void } {
    let cancel = () => {};
    const buffer = new Promise<PooledBuffer | undefined>((resolve) => {
      const waiter = { borrower, length, resolve };
      this.#waiting.add(waiter);
      cancel = () => {
        if (this.#waiting.delete(waiter)) resolve(undefined);
      };
    });
    this.#serve();
    return { buffer, cancel };
  }

  /** Takes a buffer back. `reusable: false` for one that something else may still read: only its bytes are free again. */
  give(borrower: Borrower, buffer: PooledBuffer, reusable = true): void {
    const bytes = buffer.memory.byteLength;
    borrower.pooledBytes -= bytes;
    this.#lentBytes -= bytes;
    if (reusable) {
      this.#idle[classFor(bytes)]?.push(buffer);
      this.#idleBytes += bytes;
    }
    if (this.#waiting.size > 0) this.#serve();
  }

  /** Leaves the idle buffers to the collector. */
  trim(): void {
    for (const list of this.#idle) list.length = 0;
    this.#idleBytes = 0;
  }

  #serve(): void {
    for (const waiter of this.#waiting) {
      const buffer = this.#take(waiter.borrower, waiter.length, false);
      // One that its connection's share holds back must not hold back the others.
      if (buffer === undefined && this.limitBytes - this.#lentBytes < FLOOR_BYTES) return;
      if (buffer === undefined) continue;
      this.#waiting.delete(waiter);
      waiter.resolve(buffer);
    }
  }

  #take(borrower: Borrower, length: number, isSpare: boolean): PooledBuffer | undefined {
    const free = this.limitBytes - this.#lentBytes;
    const share = free / 8;
    const held = borrower.pooledBytes;
    for (let index = classFor(length); index >= 0; index--) {
      const bytes = CLASSES[index] ?? 0;
      const isSmall = bytes <= FLOOR_BYTES && !isSpare;
      // A connection that holds nothing gets the smallest piece whatever its share.
      const allowed = held + bytes <= (isSmall ? share : share * UNRESERVED) || (held === 0 && isSmall);
      if (allowed && bytes <= free) return this.#lend(borrower, index, bytes);
      if (bytes <= FLOOR_BYTES) return undefined;
    }
    return undefined;
  }

  #lend(borrower: Borrower, index: number, bytes: number): PooledBuffer {
    borrower.pooledBytes += bytes;
    this.#lentBytes += bytes;
    const idle = this.#idle[index]?.pop();
    if (idle !== undefined) {
      this.#idleBytes -= bytes;
      return idle;
    }
    // Idle buffers of other sizes make room for one of this size.
    if (this.#lentBytes + this.#idleBytes > this.limitBytes) this.trim();
    return { memory: Buffer.allocUnsafeSlow(bytes) };
  }
}

/** The index of the smallest class that holds `length` bytes, or of the largest one. */
function classFor(length: number): number {
  let index = 0;
  while (index < CLASSES.length - 1 && length > (CLASSES[index] ?? 0)) index++;
  return index;
}
