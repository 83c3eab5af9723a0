import type { Child } from './child.js';
import { type ClusterTotals, countersOf, type NamedStats, type Snapshot, sumStats } from './sum-stats.js';

/** Maximum time in milliseconds to wait for the answer of a process. */
const ANSWER_MS = 500;

/**
 * Statistics of all processes, in the parent. The sums include the counters of processes that have ended. A sum contains only values
 * that the parent has received, so that it does not become smaller if a process is killed.
 */
export class StatsHub {
  readonly #latest = new Map<Child, Snapshot>();
  readonly #questions = new Map<number, { readonly child: Child; readonly resolve: () => void }>();
  #ended: NamedStats = { handlers: {}, servers: {}, stores: {} };
  #lastId = 0;

  /** Receives the statistics of a process. `id` is set if they answer a question of {@link totals}. */
  receive(child: Child, snapshot: Snapshot, id?: number): void {
    this.#latest.set(child, snapshot);
    if (id !== undefined) this.#questions.get(id)?.resolve();
  }

  /** Keeps the counters of a process that has ended. */
  retire(child: Child): void {
    const last = this.#latest.get(child);
    this.#latest.delete(child);
    if (last !== undefined) this.#ended = sumStats([this.#ended, countersOf(last)]);
    for (const question of this.#questions.values()) if (question.child === child) question.resolve();
  }

  /**
   * Asks all processes that serve, except `asker`, for their statistics, and resolves to the sums. If a process does not answer
   * in time, its last statistics are used.
   */
  async totals(asker: Child, children: Iterable<Child>): Promise<ClusterTotals> {
    const others = [...children].filter((child) => child !== asker && child.isServing);
    const answered = await Promise.all(others.map(async (child) => [child.pid, await this.#ask(child)] as const));
    const late = answered.flatMap(([pid, isInTime]) => (isInTime ? [] : [pid]));
    const snapshots = [...this.#latest.values()];
    return {
      ...sumStats([...snapshots, this.#ended]),
      uptimeSeconds: Math.round(process.uptime()),
      processes: snapshots.map(({ process }) => process).sort((a, b) => a.pid - b.pid),
      note: late.length === 0 ? undefined : `no answer from process ${late.join(', ')}: its values are old`,
    };
  }

  /** Resolves to whether the process has answered in time. */
  #ask(child: Child): Promise<boolean> {
    const id = ++this.#lastId;
    return new Promise((resolve) => {
      const end = (hasAnswered: boolean): void => {
        clearTimeout(timer);
        this.#questions.delete(id);
        resolve(hasAnswered);
      };
      const timer = setTimeout(() => end(false), ANSWER_MS);
      this.#questions.set(id, { child, resolve: () => end(true) });
      child.send({ type: 'stats', id });
    });
  }
}
