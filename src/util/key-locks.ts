/** Runs tasks with the same key one at a time, in the order of the calls. Tasks with different keys run concurrently. */
export class KeyLocks {
  readonly #last = new Map<string, Promise<unknown>>();

  /** Runs `task` when all earlier tasks with the same key have settled. Settles like `task`. */
  async run<T>(key: string, task: () => Promise<T>): Promise<T> {
    const previous = this.#last.get(key);
    const current = previous === undefined ? task() : previous.then(task, task);
    this.#last.set(key, current);
    try {
      return await current;
    } finally {
      if (this.#last.get(key) === current) this.#last.delete(key);
    }
  }
}
