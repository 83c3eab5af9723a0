import { HotblobError } from '../../contract/errors.js';

interface Waiter {
  readonly bytes: number;
  grant(): void;
}

/** Limits the bytes in memory. Waiters are served in order of arrival. */
export class ByteBudget {
  readonly #maxBytes: number;
  readonly #waiters = new Set<Waiter>();
  #usedBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /**
   * Waits for `bytes` and reserves them. Resolves to a function that releases them; further calls of it do nothing.
   *
   * @throws HotblobError `ERR_HOTBLOB_OVERLOADED` after `timeoutMs`; the reason of the signal if it aborts
   */
  async reserve(bytes: number, timeoutMs: number, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#waiters.size > 0 || !this.#fits(bytes)) await this.#wait(bytes, timeoutMs, signal);
    else this.#usedBytes += bytes;
    let isReserved = true;
    return () => {
      if (!isReserved) return;
      isReserved = false;
      this.#usedBytes -= bytes;
      this.#grantWaiters();
    };
  }

  #fits(bytes: number): boolean {
    return this.#usedBytes + bytes <= this.#maxBytes;
  }

  #wait(bytes: number, timeoutMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const remove = (): void => {
        this.#waiters.delete(waiter);
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
      };
      const fail = (reason: unknown): void => {
        remove();
        // A smaller request behind it may fit.
        this.#grantWaiters();
        reject(reason);
      };
      const onAbort = (): void => fail(signal.reason);
      const waiter: Waiter = {
        bytes,
        grant: () => {
          remove();
          this.#usedBytes += bytes;
          resolve();
        },
      };
      const timer = setTimeout(() => {
        const message = `no memory for an upload within ${timeoutMs} ms: all ${this.#maxBytes} bytes of uploadBytes are in use`;
        fail(new HotblobError('ERR_HOTBLOB_OVERLOADED', message));
      }, timeoutMs);
      signal.addEventListener('abort', onAbort);
      this.#waiters.add(waiter);
    });
  }

  #grantWaiters(): void {
    for (const waiter of this.#waiters) {
      if (!this.#fits(waiter.bytes)) return;
      waiter.grant();
    }
  }
}
