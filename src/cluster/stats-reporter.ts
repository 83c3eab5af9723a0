import { HotblobError } from '../contract/errors.js';
import type { HistorySource } from '../history/history.js';
import { messageOf, reportEvent } from '../util/report-event.js';
import type { HistoryNames } from './history-names.js';
import type { ParentLink } from './parent-link.js';
import { ProcessMeter } from './process-stats.js';
import { type ClusterTotals, type NamedStats, type Snapshot, sumStats } from './sum-stats.js';

/** Interval in milliseconds at which a process sends its statistics. */
const INTERVAL_MS = 1000;

/** Reports the statistics of this process to its parent, and gets the statistics of all processes from the parent. */
export class StatsReporter {
  readonly #link: ParentLink | undefined;
  readonly #meter = new ProcessMeter();
  readonly #readers: (() => NamedStats)[] = [];
  #timer: NodeJS.Timeout | undefined;
  #pending: Promise<ClusterTotals | undefined> | undefined;
  #last: ClusterTotals | undefined;

  /** @param link `undefined` if there is only this process */
  constructor(link: ParentLink | undefined) {
    this.#link = link;
  }

  snapshot(): Snapshot {
    const stats = sumStats(this.#readers.map((read) => read()));
    return { ...stats, process: this.#meter.stats(stats) };
  }

  /** Sends the statistics now. Resolves when they have been sent. If a store or server throws, the parent keeps the previous ones. */
  async report(id?: number): Promise<void> {
    if (this.#link === undefined) return;
    try {
      await this.#link.send({ type: 'stats', id, snapshot: this.snapshot() });
    } catch (error) {
      reportEvent('statistics failed', messageOf(error), error);
    }
  }

  /** Adds the result of `read` to the statistics of this process. After the first call, they are measured and sent every second. */
  add(read: () => NamedStats): void {
    this.#readers.push(read);
    if (this.#timer !== undefined) return;
    this.#meter.tick();
    this.#timer = setInterval(() => {
      this.#meter.tick();
      void this.report();
    }, INTERVAL_MS).unref();
  }

  /** Resolves to the statistics of all processes. If the parent does not answer, they are old or those of this process alone. */
  async totals(): Promise<ClusterTotals> {
    const totals = await this.#answer();
    if (totals !== undefined) return totals;
    if (this.#last !== undefined) return { ...this.#last, note: `${NO_ANSWER}: the values are old` };
    return totalsOf(this.snapshot(), `${NO_ANSWER}: the values are those of one process`);
  }

  /**
   * Resolves to the statistics of all processes, for a client that compares them with those that it got from other processes.
   *
   * @throws HotblobError `ERR_HOTBLOB_OVERLOADED` if the parent does not answer, because counters would seem to go backwards
   */
  async currentTotals(): Promise<ClusterTotals> {
    const totals = await this.#answer();
    if (totals === undefined) throw new HotblobError('ERR_HOTBLOB_OVERLOADED', NO_ANSWER);
    return totals;
  }

  /** Returns the history that the parent keeps of sources, from now on. Returns `undefined` if there is only this process. */
  history(names: HistoryNames): HistorySource | undefined {
    const link = this.#link;
    if (link === undefined) return undefined;
    void link.history(names, 0); // starts recording
    return { read: (seconds) => link.history(names, seconds) };
  }

  /** Resolves to the answer of the parent, if there is one. Callers that ask at the same time share it. */
  #answer(): Promise<ClusterTotals | undefined> {
    this.#pending ??= this.#ask().finally(() => {
      this.#pending = undefined;
    });
    return this.#pending;
  }

  async #ask(): Promise<ClusterTotals | undefined> {
    const own = this.snapshot();
    if (this.#link === undefined) return totalsOf(own, undefined);
    const totals = await this.#link.totals(own);
    if (totals !== undefined) this.#last = totals;
    return totals;
  }
}

const NO_ANSWER = 'the parent did not answer';

function totalsOf(own: Snapshot, note: string | undefined): ClusterTotals {
  return { ...sumStats([own]), uptimeSeconds: own.process.uptimeSeconds, processes: [own.process], note };
}
