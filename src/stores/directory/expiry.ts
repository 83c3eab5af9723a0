import { PeriodicTask } from '../../util/periodic-task.js';
import { expiryIntervalOf } from '../retention/expiry-interval.js';
import type { DirectoryGroup } from './groups.js';
import type { LastUses } from './last-uses.js';
import type { Removals } from './removals.js';
import type { Renewal } from './renewal.js';

/** Parts of an eviction that an expiry needs. */
export interface ExpiryContext {
  readonly groups: readonly DirectoryGroup[];
  readonly removals: Removals;
  readonly renewal: Renewal;
  readonly lastUses: LastUses;
  /** Runs a task while no upload is placed and no file is evicted. */
  runExclusively<T>(task: () => Promise<T>): Promise<T>;
}

/** Removes, in the background, the files that were not used for the `maxAgeMs` of their rule. */
export class Expiry {
  readonly #context: ExpiryContext;
  readonly #task: PeriodicTask;
  #count = 0;
  #isStopped = false;

  constructor(minAgeMs: number, context: ExpiryContext) {
    this.#context = context;
    this.#task = new PeriodicTask(expiryIntervalOf(minAgeMs), () => this.#expire());
  }

  /** Number of files that have expired. */
  get count(): number {
    return this.#count;
  }

  /** Removes expired files now. Never rejects. */
  run(): Promise<void> {
    return this.#task.run();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#task.stop();
  }

  async #expire(): Promise<void> {
    const { groups, renewal, lastUses, runExclusively } = this.#context;
    await lastUses.correctClock();
    for (const group of groups) {
      if (group.limits.maxAgeMs === Number.POSITIVE_INFINITY) continue;
      let isRemoved = true;
      while (isRemoved && !this.#isStopped) {
        // An upload waits for at most one file.
        isRemoved = await runExclusively(() => this.#removeNext(group));
        if (isRemoved) renewal.startIfDue();
      }
    }
    if (!this.#isStopped) renewal.startIfOld();
  }

  async #removeNext(group: DirectoryGroup): Promise<boolean> {
    const { removals } = this.#context;
    const before = removals.count;
    const isRemoved = await removals.removeNext([group], Date.now() - group.limits.maxAgeMs);
    this.#count += removals.count - before;
    return isRemoved;
  }
}
