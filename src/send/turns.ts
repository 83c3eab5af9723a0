/** What responses of several windows may write in one turn of the event loop, in bytes: about a millisecond of copying. */
const TURN_BYTES = 2 * 1024 * 1024;
/** How many of those that wait for a turn go on in it; each then writes one window at least, of 1 MiB at most. */
const RESUMED_PER_TURN = 2;

/**
 * Gives the event loop its turns. A socket that takes a window at once says so in the same turn, so that a fast client
 * of a resident artifact would keep everybody else waiting until the last window.
 */
export class Turns {
  readonly #waiting: (() => void)[] = [];
  #writtenBytes = 0;
  #isScheduled = false;

  /** Counts a window that has been written. A promise where the response is to wait for another turn. */
  pass(bytes: number): Promise<void> | undefined {
    this.#writtenBytes += bytes;
    this.#schedule();
    if (this.#writtenBytes < TURN_BYTES) return undefined;
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => this.#begin());
  }

  #begin(): void {
    this.#isScheduled = false;
    this.#writtenBytes = 0;
    for (const resume of this.#waiting.splice(0, RESUMED_PER_TURN)) resume();
    if (this.#waiting.length > 0) this.#schedule();
  }
}
