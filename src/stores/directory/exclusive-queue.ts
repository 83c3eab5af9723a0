/** Runs tasks one at a time, in the order of the calls. */
export class ExclusiveQueue {
  #last: Promise<unknown> = Promise.resolve();

  /** Resolves when the tasks of all previous calls have ended. Never rejects. */
  get idle(): Promise<unknown> {
    return this.#last;
  }

  /**
   * Runs `task` after the tasks of the previous calls. Resolves to its result.
   *
   * @param settled returns a promise for which the next task waits, after the caller has received the result
   */
  run<T>(task: () => Promise<T>, settled?: (result: T) => Promise<void> | undefined): Promise<T> {
    const result = this.#last.then(task);
    this.#last = result.then(settled).catch(() => {});
    return result;
  }
}
