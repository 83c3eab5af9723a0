import { columnsOf } from '../history/columns.js';
import { History, SAMPLE_MS } from '../history/history.js';
import type { Child } from './child.js';
import type { HistoryNames } from './history-names.js';
import type { StatsMessage } from './messages.js';
import { type ClusterTotals, countersOf, type NamedStats, type Snapshot, sumStats } from './sum-stats.js';

/** Maximum time in milliseconds to wait for the answer of a process. */
const ANSWER_MS = 500;
/** Maximum number of histories. Each takes at most 1 MB. */
const MAX_HISTORIES = 4;

/**
 * Statistics of all processes, in the parent. The sums include the counters of processes that have ended. A sum contains only values
 * that the parent has received, so that it does not become smaller if a process is killed.
 */
export class StatsHub {
  readonly #latest = new Map<Child, Snapshot>();
  readonly #questions = new Map<number, { readonly child: Child; readonly resolve: () => void }>();
  #ended: NamedStats = { handlers: {}, servers: {}, stores: {} };
  #lastId = 0;
  readonly #histories = new Map<string, { readonly names: HistoryNames; readonly history: History }>();
  #timer: NodeJS.Timeout | undefined;

  /** Receives the statistics of a process, or answers its question. */
  receive(child: Child, message: StatsMessage, children: Iterable<Child>): void {
    if (message.type === 'history') {
      const { id, names, seconds } = message;
      child.send({ type: 'history', id, history: this.#historyOf(names)?.read(seconds) });
      return;
    }
    this.#latest.set(child, message.snapshot);
    if (message.type === 'stats') {
      // The identifier is set if this is the answer to a question of #ask().
      if (message.id !== undefined) this.#questions.get(message.id)?.resolve();
      return;
    }
    const { id } = message;
    void this.#totals(child, children).then((totals) => child.send({ type: 'totals', id, totals }));
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
  async #totals(asker: Child, children: Iterable<Child>): Promise<ClusterTotals> {
    const others = [...children].filter((child) => child !== asker && child.isServing);
    const answered = await Promise.all(others.map(async (child) => [child.pid, await this.#ask(child)] as const));
    const late = answered.flatMap(([pid, isInTime]) => (isInTime ? [] : [pid]));
    return {
      ...this.#sums(),
      uptimeSeconds: Math.round(process.uptime()),
      note: late.length === 0 ? undefined : `no answer from process ${late.join(', ')}: its values are old`,
    };
  }

  #sums(): NamedStats & Pick<ClusterTotals, 'processes'> {
    const snapshots = [...this.#latest.values()];
    return {
      ...sumStats([...snapshots, this.#ended]),
      processes: snapshots.map(({ process }) => process).sort((a, b) => a.pid - b.pid),
    };
  }

  /** Returns the history of sources. The first call for them starts recording it. */
  #historyOf(names: HistoryNames): History | undefined {
    const key = JSON.stringify(names);
    const known = this.#histories.get(key)?.history;
    if (known !== undefined || this.#histories.size >= MAX_HISTORIES) return known;
    const history = new History();
    this.#histories.set(key, { names, history });
    // Each process sends its statistics every second, so there is no need to ask for them.
    this.#timer ??= setInterval(() => this.#record(), SAMPLE_MS).unref();
    return history;
  }

  #record(): void {
    const { handlers, servers, stores, processes } = this.#sums();
    for (const { names, history } of this.#histories.values()) {
      const handler = handlers[names.handler];
      if (handler === undefined) continue;
      const server = servers[names.server ?? ''];
      const store = stores[names.store ?? ''];
      history.add(Date.now(), columnsOf({ handler, server, store, processes }));
    }
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
