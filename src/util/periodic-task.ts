/** Runs a task at an interval, and never twice at the same time. The timer does not keep the process alive. */
export class PeriodicTask {
  readonly #task: () => Promise<void>;
  readonly #timer: NodeJS.Timeout;
  #running: Promise<void> | undefined;

  /** @param task its errors are ignored: it runs again after the interval */
  constructor(intervalMs: number, task: () => Promise<void>) {
    this.#task = task;
    this.#timer = setInterval(() => void this.run(), intervalMs).unref();
  }

  /** Runs the task now, or waits for the run in progress. Never rejects. */
  run(): Promise<void> {
    this.#running ??= this.#task()
      .catch(() => {})
      .finally(() => {
        this.#running = undefined;
      });
    return this.#running;
  }

  /** Stops the timer, and waits for the run in progress. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#running;
  }
}
