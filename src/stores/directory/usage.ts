/** Number of artifacts, and bytes that a directory takes on the disk. */
export interface Totals {
  readonly artifacts: number;
  readonly bytes: number;
}

const NOTHING: Totals = { artifacts: 0, bytes: 0 };

/**
 * Usage of a directory: the result of the last scan, plus the changes of this store since then.
 *
 * The store is used during a scan. A scan may or may not have counted a file that changes meanwhile, so its result is compared
 * with the usage that the store knows: if these changes explain the difference, the known usage is exact. Otherwise other
 * programs have changed the directory.
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
   * Calls `task` at the end of a scan, after the operations of {@link during} that are in progress now. The scan may have seen
   * their changes, which would count twice if they were counted after its end. It has not seen those of later operations.
   */
  async afterOperations<T>(task: () => T): Promise<Awaited<T>> {
    await Promise.allSettled([...this.#operations]);
    return await task();
  }

  beginScan(): void {
    this.#grown = NOTHING;
    this.#shrunk = NOTHING;
  }

  /** Takes over what a scan has found, in {@link afterOperations}. Returns whether the usage is exact, unless other programs have changed the directory meanwhile. */
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
