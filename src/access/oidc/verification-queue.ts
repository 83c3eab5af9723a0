import { HotblobError } from '../../contract/errors.js';

/** Verifications at the same time. They run on the thread pool, which also reads files. */
const MAX_RUNNING = 2;
/** Verifications that wait. More than this are not the work of build tools. */
const MAX_WAITING = 256;

/** Limits how much verifying signatures costs, whatever clients send. */
export class VerificationQueue {
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  /**
   * Runs a task when a place is free.
   *
   * @throws HotblobError `ERR_HOTBLOB_OVERLOADED` if too many tasks wait
   */
  async run<Result>(task: () => Promise<Result>): Promise<Result> {
    if (this.#running >= MAX_RUNNING) {
      if (this.#waiting.length >= MAX_WAITING) {
        throw new HotblobError(
          'ERR_HOTBLOB_OVERLOADED',
          `more than ${MAX_WAITING} signatures of tokens wait to be verified`,
        );
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else {
      this.#running++;
    }
    try {
      return await task();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }
}
