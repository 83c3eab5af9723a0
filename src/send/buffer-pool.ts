import type { CopyTarget } from '../page-cache/libc.js';
import { currentLimit, type Limit } from '../util/limit.js';

/**
 * Sizes of buffers. A window gets a buffer of the smallest size that holds it. If the pool has no room for this size,
 * the window gets a smaller buffer.
 */
const SIZES = [4096, 16 * 1024, 64 * 1024, 256 * 1024] as const;
/** Minimum size of a buffer for a window that does not fit into a smaller size. */
const MIN_WINDOW_BYTES = 16 * 1024;

/** Fraction of a connection's share that large and spare buffers may use. The rest is reserved for small windows. */
const UNRESERVED_SHARE = 0.75;

/** Buffer on loan from a {@link BufferPool}. The borrower returns it once, with {@link BufferPool.release}. */
export interface PooledBuffer extends CopyTarget {
  readonly memory: Buffer;
  /** Value of the pool's tick counter when the buffer was returned. See {@link BufferPool.tick}. */
  idleSince: number;
}

/** Connection that borrows buffers. */
export interface Borrower {
  /** Total size of the buffers on loan to this connection, in bytes. The pool updates it. */
  pooledBytes: number;
}

interface Waiter {
  readonly borrower: Borrower;
  readonly length: number;
  readonly resolve: (buffer: PooledBuffer | undefined) => void;
}

/** Memory that counts to the limit of a {@link BufferPool}, and that the pool takes back when it needs the space. */
export interface Reclaimable {
  /** Size in bytes. */
  readonly bytes: number;
  /** Number of bytes that are in use and cannot be freed now. */
  readonly usedBytes: number;
  /** Frees memory until at most `maxBytes` bytes are left, or only bytes in use. */
  shrink(maxBytes: number): void;
}

const NOTHING: Reclaimable = { bytes: 0, usedBytes: 0, shrink() {} };

/**
 * Pool of buffers into which windows are copied and read. All buffers together, including idle buffers, never exceed
 * the limit. A connection holds at most an eighth of the bytes that are not on loan, so that a connection with many
 * streams cannot take the whole pool.
 */
export class BufferPool {
  readonly #maxPooledBytes: Limit;
  /** Idle buffers by size. Each list is a stack: the buffers that have been idle for longest come first. */
  readonly #idle: PooledBuffer[][] = SIZES.map(() => []);
  #idleBytes = 0;
  #lentBytes = 0;
  #ticks = 0;
  readonly #waiters = new Set<Waiter>();
  readonly #reclaimable: Reclaimable;

  constructor(maxPooledBytes: Limit, reclaimable = NOTHING) {
    this.#maxPooledBytes = maxPooledBytes;
    this.#reclaimable = reclaimable;
  }

  /** Limit on the total size of the buffers. If it falls below the bytes on loan, no buffer is lent until enough are returned. */
  get maxPooledBytes(): number {
    return currentLimit(this.#maxPooledBytes);
  }

  /** Total size of the buffers that are kept for reuse, in bytes. */
  get idleBytes(): number {
    return this.#idleBytes;
  }

  /** Total size of the buffers on loan, in bytes. */
  get lentBytes(): number {
    return this.#lentBytes;
  }

  /** Number of bytes up to the limit that are neither on loan nor idle. Reclaimable memory may take them. */
  get spareBytes(): number {
    return this.maxPooledBytes - this.#lentBytes - this.#idleBytes;
  }

  /** Number of calls of {@link wait} that have no buffer yet. */
  get waiting(): number {
    return this.#waiters.size;
  }

  /**
   * Returns a buffer for at most `length` bytes, which may be smaller. Returns undefined if no buffer is available now.
   */
  acquire(borrower: Borrower, length: number): PooledBuffer | undefined {
    // Callers of wait() are served first.
    return this.#waiters.size > 0 ? undefined : this.#lendLargest(borrower, length, false);
  }

  /**
   * Like {@link acquire}, for a buffer that is useful but not required. Leaves the reserved part of the connection's
   * share free.
   */
  acquireSpare(borrower: Borrower, length: number): PooledBuffer | undefined {
    return this.#waiters.size > 0 ? undefined : this.#lendLargest(borrower, length, true);
  }

  /**
   * Waits for a buffer. Callers are served in the order of their calls. After `cancel`, the promise resolves to
   * undefined.
   */
  wait(borrower: Borrower, length: number): { readonly buffer: Promise<PooledBuffer | undefined>; cancel(): void } {
    let cancel = () => {};
    const buffer = new Promise<PooledBuffer | undefined>((resolve) => {
      const waiter = { borrower, length, resolve };
      this.#waiters.add(waiter);
      cancel = () => {
        if (this.#waiters.delete(waiter)) resolve(undefined);
      };
    });
    this.serveWaiters();
    return { buffer, cancel };
  }

  /**
   * Returns a buffer to the pool. With `reusable: false`, the buffer is dropped, because the kernel or Node may still
   * read its memory.
   */
  release(borrower: Borrower, buffer: PooledBuffer, reusable = true): void {
    const bytes = buffer.memory.byteLength;
    borrower.pooledBytes -= bytes;
    this.#lentBytes -= bytes;
    if (reusable) {
      buffer.idleSince = this.#ticks;
      this.#idle[sizeIndex(bytes)]?.push(buffer);
      this.#idleBytes += bytes;
    }
    this.serveWaiters();
  }

  /**
   * Counts memory that the pool does not provide like a buffer on loan. Returns false and counts nothing if no buffer of
   * this size is available now. The borrower calls {@link uncount} once, with the same number of bytes.
   */
  count(borrower: Borrower, bytes: number): boolean {
    const free = this.#freeBytes;
    if (this.#waiters.size > 0 || bytes > free || !isWithinShare(borrower, bytes, free, false)) return false;
    borrower.pooledBytes += bytes;
    this.#lentBytes += bytes;
    this.#freeExcess();
    return true;
  }

  /** Reverts one call of {@link count}. */
  uncount(borrower: Borrower, bytes: number): void {
    borrower.pooledBytes -= bytes;
    this.#lentBytes -= bytes;
    this.serveWaiters();
  }

  /** Lends buffers to the callers of {@link wait}. Called after a change that adds free bytes. */
  serveWaiters(): void {
    if (this.#waiters.size > 0) this.#serveWaiters();
  }

  /** Frees all idle buffers. */
  freeIdle(): void {
    for (const buffers of this.#idle) buffers.length = 0;
    this.#idleBytes = 0;
  }

  /**
   * Increments the tick counter, and frees the buffers that have been idle for `maxIdleTicks` ticks. The timer of
   * {@link Leases} calls it.
   */
  tick(maxIdleTicks: number): void {
    this.#ticks++;
    for (const buffers of this.#idle) {
      const firstRecent = buffers.findIndex(({ idleSince }) => this.#ticks - idleSince < maxIdleTicks);
      const freed = buffers.splice(0, firstRecent === -1 ? buffers.length : firstRecent);
      this.#idleBytes -= freed.length * (freed[0]?.memory.byteLength ?? 0);
    }
  }

  get #freeBytes(): number {
    return this.maxPooledBytes - this.#lentBytes - this.#reclaimable.usedBytes;
  }

  #serveWaiters(): void {
    for (const waiter of this.#waiters) {
      const buffer = this.#lendLargest(waiter.borrower, waiter.length, false);
      if (buffer === undefined && this.#freeBytes < MIN_WINDOW_BYTES) return;
      // The connection of this waiter has used up its share. The next waiter may belong to another connection.
      if (buffer === undefined) continue;
      this.#waiters.delete(waiter);
      waiter.resolve(buffer);
    }
  }

  #lendLargest(borrower: Borrower, length: number, isSpare: boolean): PooledBuffer | undefined {
    const free = this.#freeBytes;
    for (let index = sizeIndex(length); index >= 0; index--) {
      const bytes = SIZES[index] ?? 0;
      if (bytes <= free && isWithinShare(borrower, bytes, free, isSpare)) return this.#lend(borrower, index, bytes);
      if (bytes <= MIN_WINDOW_BYTES) return undefined;
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
    this.#freeExcess();
    return { memory: Buffer.allocUnsafeSlow(bytes), idleSince: 0 };
  }

  /** Frees idle buffers (which may have other sizes) and reclaimable memory to stay within the limit. */
  #freeExcess(): void {
    if (this.#idleBytes > this.#freeBytes) this.freeIdle();
    if (this.#reclaimable.bytes > this.spareBytes) this.#reclaimable.shrink(this.spareBytes);
  }
}

/** Returns whether a connection may borrow `bytes` bytes of the `free` bytes that are not on loan. */
function isWithinShare({ pooledBytes }: Borrower, bytes: number, free: number, isSpare: boolean): boolean {
  const share = free / 8;
  const isSmall = bytes <= MIN_WINDOW_BYTES && !isSpare;
  // A connection without a buffer gets a small buffer, even if that exceeds the share.
  return pooledBytes + bytes <= (isSmall ? share : share * UNRESERVED_SHARE) || (pooledBytes === 0 && isSmall);
}

/** Returns the index of the smallest size that holds `length` bytes, or of the largest size. */
function sizeIndex(length: number): number {
  let index = 0;
  while (index < SIZES.length - 1 && length > (SIZES[index] ?? 0)) index++;
  return index;
}
