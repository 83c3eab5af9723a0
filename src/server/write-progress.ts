import type { Limits } from './options.js';

/** Detects a write that makes no progress. */
export class WriteProgress {
  readonly #limits: Limits;
  #position = -1;
  #progressAt = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** Records that bytes were sent. */
  recordProgress(now: number): void {
    this.#progressAt = now;
  }

  /**
   * Returns `true` if no queued bytes were sent for `writeTimeoutMs` plus the time that `queuedBytes` bytes need at
   * `minBytesPerSecond`.
   *
   * @param position number that changes when bytes are sent
   */
  isStalled(now: number, queuedBytes: number, position: number): boolean {
    if (queuedBytes === 0 || position !== this.#position) {
      this.#position = queuedBytes === 0 ? -1 : position;
      this.#progressAt = now;
      return false;
    }
    const { writeTimeoutMs, minBytesPerSecond } = this.#limits;
    return now - this.#progressAt > writeTimeoutMs + (queuedBytes / minBytesPerSecond) * 1000;
  }
}
