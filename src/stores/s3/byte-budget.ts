import { HotblobError } from '../../contract/errors.js';

interface Waiter {
  /** If enough bytes are free, takes them and resumes the waiting part. Returns whether it did. */
  tryToResume(): boolean;
}

/**
 * Limits the memory of all uploads together. Parts that wait for bytes are served in the order of their calls.
 *
 * If many parts were half full and no bytes were free, none of them could ever be completed. Therefore, the bytes of
 * one part are set aside. The first part that finds no other memory takes them and keeps them until it is released.
 */
export class ByteBudget {
  readonly maxBytes: number;
  /** Number of bytes that all parts share. The rest of the limit is set aside. */
  readonly #sharedBytes: number;
  readonly #waiters = new Set<Waiter>();
  #usedBytes = 0;
  /** Part that uses the bytes that are set aside. */
  #privileged: Allowance | undefined;

  /** @param partBytes maximum size of an allowance; at most half of `maxBytes` */
  constructor(maxBytes: number, partBytes: number) {
    this.maxBytes = maxBytes;
    this.#sharedBytes = maxBytes - partBytes;
  }

  /** Number of shared bytes in use. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** Returns an allowance of 0 bytes for a part that is about to be filled. */
  open(timeoutMs: number, signal: AbortSignal): Allowance {
    return new Allowance(this, timeoutMs, signal);
  }

  /** If enough bytes are free, takes them for `allowance`. Returns whether it did. */
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

  /** Returns whether `allowance` must wait even if bytes are free, because other parts wait already. */
  mustQueue(allowance: Allowance): boolean {
    return this.#waiters.size > 0 && this.#privileged !== allowance;
  }

  addWaiter(waiter: Waiter): void {
    this.#waiters.add(waiter);
  }

  removeWaiter(waiter: Waiter): void {
    this.#waiters.delete(waiter);
    // A smaller request that waits behind this one may fit now.
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

/** Memory of one part of an upload. It grows as bytes arrive, so that a client that sends nothing uses none. */
export class Allowance {
  /** Number of shared bytes that this part uses. */
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
   * Takes `bytes` more bytes, and waits until they are free.
   *
   * @throws HotblobError `ERR_HOTBLOB_OVERLOADED` if the bytes are not free after the timeout
   * @throws the reason of the signal if it is aborted
   */
  async grow(bytes: number): Promise<void> {
    this.#signal.throwIfAborted();
    if (this.#budget.mustQueue(this) || !this.#budget.take(this, bytes)) await this.#wait(bytes);
  }

  /** Releases all bytes. Further calls do nothing. */
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
        const message = `uploadBytes: too few of the ${this.#budget.maxBytes} bytes became free within ${this.#timeoutMs} ms; retry later or raise uploadBytes`;
        fail(new HotblobError('ERR_HOTBLOB_OVERLOADED', message));
      }, this.#timeoutMs);
      signal.addEventListener('abort', onAbort);
      this.#budget.addWaiter(waiter);
    });
  }
}
