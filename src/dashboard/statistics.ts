import type { ProcessesSource } from '../cluster/cluster-stats.js';
import { ProcessMeter } from '../cluster/process-stats.js';
import type { ClusterTotals, ProcessStats } from '../cluster/sum-stats.js';
import type { StoreStats } from '../contract/store.js';
import type { HandlerStats, StatsSource } from '../handler/stats.js';
import { columnsOf } from '../history/columns.js';
import { History, type HistorySource, SAMPLE_MS } from '../history/history.js';
import type { ServerStats } from '../server/stats.js';

/** Objects with the statistics. See the options of `createDashboard`. */
interface Sources {
  readonly handler: StatsSource<HandlerStats>;
  readonly server?: StatsSource<ServerStats> | undefined;
  readonly store?: Partial<StatsSource<StoreStats>> | undefined;
  readonly processes?: ProcessStatsSource | undefined;
}

/** Source of the measurements of each process. That of `clusterStats()` also knows the uptime, and has a history. */
export type ProcessStatsSource = StatsSource<readonly ProcessStats[]> &
  Partial<Pick<ProcessesSource, 'totals' | 'history'>>;

/** Message that the page receives every second. */
export interface Sample {
  /** Time of the sample, in milliseconds since the Unix epoch. */
  readonly time: number;
  readonly handler: HandlerStats;
  readonly server?: ServerStats | undefined;
  readonly store?: StoreStats | undefined;
  /** Measurements of each process. */
  readonly processes?: readonly ProcessStats[] | undefined;
  readonly uptimeSeconds: number;
  /** Line that says which values are missing or old; undefined if none are. */
  readonly note?: string | undefined;
}

/** Statistics that the page shows, and their history. */
export class Statistics implements HistorySource {
  readonly #sources: Sources;
  /** Measures this process, unless the option `processes` measures all of them. */
  readonly #meter: ProcessMeter | undefined;
  /** History that the parent of several processes records. */
  readonly #shared: HistorySource | undefined;
  readonly #own = new History();
  readonly #timer: NodeJS.Timeout | undefined;

  constructor(sources: Sources) {
    this.#sources = sources;
    const { handler, server, store, processes } = sources;
    this.#meter = processes === undefined ? new ProcessMeter() : undefined;
    this.#shared = processes?.history?.({
      handler: handler.origin ?? handler,
      server: server?.origin ?? server,
      store: store?.origin ?? store,
    });
    if (this.#shared !== undefined) return;
    // What happens before the first interval ends is an increase, too.
    void this.#record();
    this.#timer = setInterval(() => void this.#record(), SAMPLE_MS).unref();
  }

  async collect(): Promise<Sample> {
    const { handler, server, store, processes } = this.#sources;
    const all = [handler.stats(), server?.stats(), store?.stats?.(), this.#totals(), processes?.stats()] as const;
    const [ofHandler, ofServer, ofStore, totals, ofProcesses] = await Promise.all(all);
    const servers = ofServer === undefined ? {} : { server: ofServer };
    const own = this.#meter?.stats({ handlers: { handler: ofHandler }, servers, stores: {} });
    return {
      time: Date.now(),
      handler: ofHandler,
      server: ofServer,
      store: ofStore,
      processes: own === undefined ? ofProcesses : [own],
      uptimeSeconds: totals?.uptimeSeconds ?? Math.round(process.uptime()),
      note: totals?.note,
    };
  }

  async read(seconds: number): ReturnType<HistorySource['read']> {
    return this.#shared === undefined ? this.#own.read(seconds) : this.#shared.read(seconds);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#meter?.close();
  }

  async #totals(): Promise<ClusterTotals | undefined> {
    return this.#sources.processes?.totals?.();
  }

  async #record(): Promise<void> {
    this.#meter?.tick();
    try {
      const sample = await this.collect();
      this.#own.add(sample.time, columnsOf(sample));
    } catch {
      // The history has a gap. A viewer gets the error.
    }
  }
}
