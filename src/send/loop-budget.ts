/** Number of bytes that all responses together may write in one iteration of the event loop: about 1 ms of copying. */
const ITERATION_BYTES = 2 * 1024 * 1024;
/** Number of waiting responses that continue in one iteration. Each writes at least one window, of at most 2 MiB. */
const RESUMED_PER_ITERATION = 2;

/**
 * Limits the bytes that all responses together write in one iteration of the event loop. If a socket accepts a window
 * at once, the write completes in the same iteration. Without the limit, a fast client of a resident artifact would
 * block all other clients until the last window.
 */
export class LoopBudget {
  readonly #waiting: (() => void)[] = [];
  #writtenBytes = 0;
  #isScheduled = false;

  /**
   * Counts a window that has been written. Returns undefined if the response may continue, otherwise a promise that
   * resolves in a later iteration.
   */
  spend(bytes: number): Promise<void> | undefined {
    this.#writtenBytes += bytes;
    this.#schedule();
    if (this.#writtenBytes < ITERATION_BYTES) return undefined;
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => this.#beginIteration());
  }

  #beginIteration(): void {
    this.#isScheduled = false;
    this.#writtenBytes = 0;
    for (const resume of this.#waiting.splice(0, RESUMED_PER_ITERATION)) resume();
    if (this.#waiting.length > 0) this.#schedule();
  }
}
