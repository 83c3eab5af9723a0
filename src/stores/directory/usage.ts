/** Number of artifacts, and bytes that a directory takes on the disk. */
export interface Totals {
  readonly artifacts: number;
  readonly bytes: number;
}

const NOTHING: Totals = { artifacts: 0, bytes: 0 };

/**
 * Usage of a directory: the result of the last scan, plus the changes of this store since then.
 *
 * The store is used during a scan, and the scan may or may not have seen a change that the store makes meanwhile. If these
 * changes explain the difference between the result of the scan and the counted usage, the counted usage is exact. Otherwise
 * other programs have changed the directory.
 */
export class DirectoryUsage {
  #totals: Totals | undefined;
  #grown = NOTHING;
  #shrunk = NOTHING;
  readonly #operations = new Set<Promise<unknown>>();

  /** Undefined before the first scan has ended. */
  get totals(): Totals | undefined {
    return this.#totals;
  }

  /** Counts a change by this store. */
  change(artifacts: number, bytes: number): void {
    const change = { artifacts, bytes };
    if (this.#totals !== undefined) this.#totals = combine(this.#totals, change, (a, b) => a + b);
    this.#grown = combine(this.#grown, change, (a, b) => a + Math.max(0, b));
    this.#shrunk = combine(this.#shrunk, change, (a, b) => a - Math.min(0, b));
  }

  /** Runs an operation that changes the directory and then calls {@link change}. */
  during<T>(operation: () => Promise<T>): Promise<T> {
    const running = operation();
    this.#operations.add(running);
    return running.finally(() => this.#operations.delete(running));
  }

  /**
   * Waits for the operations that {@link during} runs now, then calls `task`. Call it at the end of a scan: the scan may have
   * seen the changes of these operations, which must not be counted again after it. The scan has not seen the changes of later
   * operations.
   */
  async afterOperations<T>(task: () => T): Promise<Awaited<T>> {
    await Promise.allSettled([...this.#operations]);
    return await task();
  }

  beginScan(): void {
    this.#grown = NOTHING;
    this.#shrunk = NOTHING;
  }

  /**
   * Applies the result of a scan. Call it in the task of {@link afterOperations}. Returns false if the changes of this store during
   * the scan can make the usage inexact. Does not detect changes by other programs.
   */
  endScan(found: Totals): boolean {
    const known = this.#totals;
    const lowest = combine(found, this.#shrunk, (a, b) => a - b);
    const highest = combine(found, this.#grown, (a, b) => a + b);
    // The first scan rather counts a change twice than not at all, so that the limit holds.
    this.#totals = combine(combine(known ?? highest, lowest, Math.max), highest, Math.min);
    return known !== undefined || lowest.bytes === highest.bytes;
  }
}

function combine(a: Totals, b: Totals, operation: (a: number, b: number) => number): Totals {
  return { artifacts: operation(a.artifacts, b.artifacts), bytes: operation(a.bytes, b.bytes) };
}
