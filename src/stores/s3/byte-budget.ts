import { HotblobError } from '../../contract/errors.js';

interface Waiting {
  readonly bytes: number;
  grant(): void;
}

/** Bytes that may be in memory at once. Who has to wait is served in the order of coming. */
export class ByteBudget {
  readonly #maxBytes: number;
  readonly #queue = new Set<Waiting>();
  #usedBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes that are taken. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  /**
   * Resolves once `bytes` are the caller's, to what gives them back, once however often it is called.
   *
   * @throws HotblobError `ERR_HOTBLOB_OVERLOADED` when they are not after `timeoutMs`; the signal's reason when it aborts
   */
  async take(bytes: number, timeoutMs: number, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#queue.size > 0 || !this.#fits(bytes)) await this.#wait(bytes, timeoutMs, signal);
    else this.#usedBytes += bytes;
    let isTaken = true;
    return () => {
      if (!isTaken) return;
      isTaken = false;
      this.#usedBytes -= bytes;
      this.#grantNext();
    };
  }

  #fits(bytes: number): boolean {
    return this.#usedBytes + bytes <= this.#maxBytes;
  }

  #wait(bytes: number, timeoutMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#queue.delete(waiting);
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
      };
      const giveUp = (reason: unknown): void => {
        leave();
        // It may have been the one that the others waited for.
        this.#grantNext();
        reject(reason);
      };
      const onAbort = (): void => giveUp(signal.reason);
      const waiting: Waiting = {
        bytes,
        grant: () => {
          leave();
          this.#usedBytes += bytes;
          resolve();
        },
      };
      const timer = setTimeout(() => {
        const message = `uploads in progress fill the ${this.#maxBytes} bytes that they may have in memory`;
        giveUp(new HotblobError('ERR_HOTBLOB_OVERLOADED', message));
      }, timeoutMs);
      signal.addEventListener('abort', onAbort);
      this.#queue.add(waiting);
    });
  }

  #grantNext(): void {
    for (const waiting of this.#queue) {
      if (!this.#fits(waiting.bytes)) return;
      waiting.grant();
    }
  }
}
