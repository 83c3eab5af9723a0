import type { Limits } from './options.js';

/** How long a write in flight has made no progress, and how long it may. */
export class WriteProgress {
  readonly #limits: Limits;
  #mark = -1;
  #movedAt = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** Says that bytes have left. */
  moved(now: number): void {
    this.#movedAt = now;
  }

  /**
   * Whether `queuedBytes` have waited too long: the write timeout, and the time that they need at the lowest rate.
   * `mark` is anything that changes when bytes leave.
   */
  isStalled(now: number, queuedBytes: number, mark: number): boolean {
    if (queuedBytes === 0 || mark !== this.#mark) {
      this.#mark = queuedBytes === 0 ? -1 : mark;
      this.#movedAt = now;
      return false;
    }
    const { writeTimeoutMs, minBytesPerSecond } = this.#limits;
    return now - this.#movedAt > writeTimeoutMs + (queuedBytes / minBytesPerSecond) * 1000;
  }
}
