import { HotblobError } from '../../contract/errors.js';

interface Waiter {
  /** Takes the bytes and resumes the waiting part, if they are free. Returns whether they were. */
  tryToResume(): boolean;
}

/**
 * Limits the bytes in memory. Waiters are served in order of arrival.
 *
 * If many parts are half full and no bytes are free, none of them could ever be completed. Therefore the bytes of one part are
 * set aside: the first part that finds no other memory takes them, until it is released.
 */
export class ByteBudget {
  readonly maxBytes: number;
  /** Bytes that all parts share. The rest of the limit is set aside. */
  readonly #sharedBytes: number;
  readonly #waiters = new Set<Waiter>();
  #usedBytes = 0;
  /** Part that grows within the bytes that are set aside. */
  #privileged: Allowance | undefined;

  /** @param partBytes maximum size of an allowance; at most half of `maxBytes` */
  constructor(maxBytes: number, partBytes: number) {
    this.maxBytes = maxBytes;
    this.#sharedBytes = maxBytes - partBytes;
  }

  /** Bytes in use, without those that are set aside. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** Returns an allowance of 0 bytes for a part that is about to be filled. */
  open(timeoutMs: number, signal: AbortSignal): Allowance {
    return new Allowance(this, timeoutMs, signal);
  }

  /** Takes bytes for `allowance` if they are free. */
  take(allowance: Allowance, bytes: number): boolean {
    if (this.#privileged === allowance) return true;
    if (this.#usedBytes + bytes <= this.#sharedBytes) {
      this.#usedBytes += bytes;
      allowance.sharedBytes += bytes;
      return true;
    }
    if (this.#privileged !== undefined) return false;
    this.#privileged = allowance;
    return true;
  }

  /** Whether `allowance` has to wait even if there are free bytes, because others wait already. */
  mustQueue(allowance: Allowance): boolean {
    return this.#waiters.size > 0 && this.#privileged !== allowance;
  }

  addWaiter(waiter: Waiter): void {
    this.#waiters.add(waiter);
  }

  removeWaiter(waiter: Waiter): void {
    this.#waiters.delete(waiter);
    // A smaller request behind it may fit.
    this.#resumeWaiters();
  }

  release(allowance: Allowance): void {
    this.#usedBytes -= allowance.sharedBytes;
    allowance.sharedBytes = 0;
    if (this.#privileged === allowance) this.#privileged = undefined;
    this.#resumeWaiters();
  }

  #resumeWaiters(): void {
    for (const waiter of this.#waiters) {
      if (!waiter.tryToResume()) return;
      this.#waiters.delete(waiter);
    }
  }
}

/** Memory of one part of an upload. Grows as bytes arrive, so that a client that sends nothing takes none. */
export class Allowance {
  /** Bytes taken from those that all parts share. */
  sharedBytes = 0;
  readonly #budget: ByteBudget;
  readonly #timeoutMs: number;
  readonly #signal: AbortSignal;

  constructor(budget: ByteBudget, timeoutMs: number, signal: AbortSignal) {
    this.#budget = budget;
    this.#timeoutMs = timeoutMs;
    this.#signal = signal;
  }

  /**
   * Takes `bytes` more. Waits until they are free.
   *
   * @throws HotblobError `ERR_HOTBLOB_OVERLOADED` after the timeout; the reason of the signal if it aborts
   */
  async grow(bytes: number): Promise<void> {
    this.#signal.throwIfAborted();
    if (this.#budget.mustQueue(this) || !this.#budget.take(this, bytes)) await this.#wait(bytes);
  }

  /** Gives all bytes back. Further calls do nothing. */
  release(): void {
    this.#budget.release(this);
  }

  #wait(bytes: number): Promise<void> {
    const signal = this.#signal;
    return new Promise((resolve, reject) => {
      const stop = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
      };
      const fail = (reason: unknown): void => {
        stop();
        this.#budget.removeWaiter(waiter);
        reject(reason);
      };
      const onAbort = (): void => fail(signal.reason);
      const waiter: Waiter = {
        tryToResume: () => {
          if (!this.#budget.take(this, bytes)) return false;
          stop();
          resolve();
          return true;
        },
      };
      const timer = setTimeout(() => {
        const message = `no memory for an upload within ${this.#timeoutMs} ms: all ${this.#budget.maxBytes} bytes of uploadBytes are in use`;
        fail(new HotblobError('ERR_HOTBLOB_OVERLOADED', message));
      }, this.#timeoutMs);
      signal.addEventListener('abort', onAbort);
      this.#budget.addWaiter(waiter);
    });
  }
}
