/** Time in milliseconds after which a process that serves counts as stable. */
const STABLE_MS = 10_000;
const FIRST_DELAY_MS = 1000;
const MAX_DELAY_MS = 30_000;

/** Delays between the attempts to replace a process: the first one is immediate, and each further one takes twice as long. */
export class Backoff {
  #failures = 0;

  /**
   * Returns the time in milliseconds to wait before a process that has ended is replaced.
   *
   * @param servedMs time for which the process served; 0 if it could not start
   */
  next(servedMs: number): number {
    if (servedMs >= STABLE_MS) this.#failures = 0;
    const failures = this.#failures++;
    return failures === 0 ? 0 : Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** (failures - 1));
  }
}
