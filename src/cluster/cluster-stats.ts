import type { Store, StoreStats } from '../contract/store.js';
import { assertOptions, OBJECT } from '../contract/validation.js';
import type { Handler } from '../handler/handler.js';
import type { HandlerStats, StatsSource } from '../handler/stats.js';
import type { HistorySource } from '../history/history.js';
import type { CacheServer } from '../server/cache-server.js';
import type { ServerStats } from '../server/stats.js';
import { definedOnly } from '../util/defined-only.js';
import { mapValues } from '../util/map-values.js';
import { currentReporter } from './current-process.js';
import type { ClusterTotals, NamedStats, ProcessStats } from './sum-stats.js';

/** Store whose statistics are summed, for example the result of `sharedStore`. */
export interface StoreOfProcess {
  /** Returns the statistics. Default: the store has none. */
  readonly stats?: Store['stats'];
  /** Whether this process writes to the directory of the store. Default: true. */
  readonly isWriter?: boolean | undefined;
}

/** Options of {@link clusterStats}: objects with statistics, by name. Every process uses the same names. */
export interface ClusterStatsOptions<Handlers extends string, Servers extends string, Stores extends string> {
  /** Handlers and senders. Default: none. */
  readonly handlers?: Readonly<Record<Handlers, Pick<Handler, 'stats'>>> | undefined;
  /** Servers made by `createServer`. Default: none. */
  readonly servers?: Readonly<Record<Servers, Pick<CacheServer, 'stats'>>> | undefined;
  /** Stores. Default: none. */
  readonly stores?: Readonly<Record<Stores, StoreOfProcess>> | undefined;
}

/**
 * Statistics of all processes. The members `handlers`, `servers` and `stores` are options of `createMetrics`, and their members
 * options of `createDashboard`. If the parent does not answer, `stats()` of the sources rejects with `ERR_HOTBLOB_OVERLOADED`.
 */
export interface ClusterStats<Handlers extends string, Servers extends string, Stores extends string> {
  /** Sums of the handlers with the same name. */
  readonly handlers: Readonly<Record<Handlers, StatsSource<HandlerStats>>>;
  /** Sums of the servers with the same name. */
  readonly servers: Readonly<Record<Servers, StatsSource<ServerStats>>>;
  /** Sums of the stores with the same name. Their sizes and numbers of artifacts are not added: the processes share a store. */
  readonly stores: Readonly<Record<Stores, StatsSource<StoreStats>>>;
  /** Measurements of each process. */
  readonly processes: ProcessesSource;
}

/** Source of the measurements of each process. */
export interface ProcessesSource extends StatsSource<readonly ProcessStats[]> {
  stats(): Promise<readonly ProcessStats[]>;
  /** Resolves to all statistics. If the parent does not answer, they are old or those of this process alone, and `note` says so. */
  totals(): Promise<ClusterTotals>;
  /**
   * Returns the history of some of the sources, which the parent records from the first call on. Returns `undefined` without
   * `runProcesses`, and for other sources. The dashboard calls it.
   *
   * @param origins handler, server and store of this process
   */
  history(origins: HistoryOrigins): HistorySource | undefined;
}

/** Objects whose statistics a history contains. */
export interface HistoryOrigins {
  /** Handler or sender. */
  readonly handler: object;
  /** Server. Default: none. */
  readonly server?: object | undefined;
  /** Store. Default: none. */
  readonly store?: object | undefined;
}

const CHECKS = { handlers: OBJECT, servers: OBJECT, stores: OBJECT };

/**
 * Returns sources of statistics for all processes that `runProcesses` has started. The sums include the counters of processes that
 * have ended. Without `runProcesses`, the statistics are those of this process.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown option or an invalid value
 */
export function clusterStats<
  Handlers extends string = never,
  Servers extends string = never,
  Stores extends string = never,
>(options: ClusterStatsOptions<Handlers, Servers, Stores>): ClusterStats<Handlers, Servers, Stores> {
  assertOptions(options, CHECKS);
  // Without entries, the types of the names are `never`.
  const handlers: Readonly<Record<string, Pick<Handler, 'stats'>>> = options.handlers ?? {};
  const servers: Readonly<Record<string, Pick<CacheServer, 'stats'>>> = options.servers ?? {};
  const stores: Readonly<Record<string, StoreOfProcess>> = options.stores ?? {};
  const reporter = currentReporter();
  const lastStats = new Map<string, StoreStats>();
  reporter.add(() => ({
    handlers: mapValues(handlers, (handler) => handler.stats()),
    servers: mapValues(servers, (server) => server.stats()),
    stores: mapValues(stores, (store, name) => {
      const stats = statsOf(store, lastStats.get(name));
      lastStats.set(name, stats);
      return stats;
    }),
  }));
  const sourcesOf = <Kind extends keyof NamedStats>(kind: Kind, named: Readonly<Record<string, object>>) =>
    mapValues(named, (origin, name) => ({
      origin,
      async stats() {
        return (await reporter.currentTotals())[kind][name];
      },
    }));
  // The type is correct because the sources have the names of the options.
  return {
    handlers: sourcesOf('handlers', handlers) as never,
    servers: sourcesOf('servers', servers) as never,
    stores: sourcesOf('stores', stores) as never,
    processes: {
      stats: async () => (await reporter.currentTotals()).processes,
      totals: () => reporter.totals(),
      history(origins) {
        const handler = nameOf(handlers, origins.handler);
        const names = { handler, server: nameOf(servers, origins.server), store: nameOf(stores, origins.store) };
        return handler === undefined ? undefined : reporter.history({ ...names, handler });
      },
    },
  };
}

function nameOf(named: Readonly<Record<string, object>>, origin: object | undefined): string | undefined {
  return Object.keys(named).find((name) => named[name] === origin);
}

/**
 * Returns the statistics of a store. If another process writes to it, that process reports the evictions, and they are omitted here.
 *
 * @param last previous result, with the values that a store no longer reports when it or its local store has been closed
 */
function statsOf(store: StoreOfProcess, last: StoreStats = {}): StoreStats {
  const stats = { ...last, ...definedOnly(store.stats?.() ?? {}) };
  return store.isWriter === false ? { ...stats, evicted: undefined, expired: undefined } : stats;
}
