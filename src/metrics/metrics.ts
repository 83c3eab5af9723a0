import type * as PromClient from 'prom-client';
import type { ProcessStats } from '../cluster/sum-stats.js';
import type { StoreStats } from '../contract/store.js';
import { assertNoInstance, assertOptions, invalidOption, OBJECT, STATS_SOURCE } from '../contract/validation.js';
import type { HandlerStats, StatsSource } from '../handler/stats.js';
import type { ServerStats } from '../server/stats.js';
import { loadOptional } from '../util/load-optional.js';
import { printable } from '../util/printable.js';
import { type Definition, HANDLER_METRICS, PROCESS_METRICS, SERVER_METRICS, STORE_METRICS } from './definitions.js';
import type { Labels, Sample } from './sample.js';

/** Options of {@link createMetrics}. */
export interface MetricsOptions {
  /** Handlers and senders. Each name becomes a value of the label `handler`. Default: none. */
  readonly handlers?: Readonly<Record<string, StatsSource<HandlerStats>>> | undefined;
  /** Servers made by `createServer`. Each name becomes a value of the label `server`. Default: none. */
  readonly servers?: Readonly<Record<string, StatsSource<ServerStats>>> | undefined;
  /** Stores. Each name becomes a value of the label `store`. A store without `stats` has no metrics. Default: none. */
  readonly stores?: Readonly<Record<string, Partial<StatsSource<StoreStats>>>> | undefined;
  /** Measurements of each process: the member `processes` of `clusterStats()`. Default: none. */
  readonly processes?: StatsSource<readonly ProcessStats[]> | undefined;
  /** Registry to which the metrics are added. Default: a new registry of `prom-client`. */
  readonly register?: PromClient.Registry | undefined;
}

/** Prometheus metrics of handlers, servers and stores. */
export interface Metrics {
  /** Registry that contains the metrics. */
  readonly register: PromClient.Registry;
  /** Value of the `Content-Type` header for {@link text}. */
  readonly contentType: string;
  /** Returns the current values of all metrics of the registry in the exposition format. */
  text(): Promise<string>;
}

const CHECKS = { handlers: OBJECT, servers: OBJECT, stores: OBJECT, processes: STATS_SOURCE, register: OBJECT };

/**
 * Adds metrics of handlers, servers and stores to a registry of `prom-client`. During a scrape, values are read from
 * the counters that handlers, servers and stores keep in any case. Requests therefore become no slower.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown option, for a handler or server without `stats`, and
 *   if `prom-client` is not installed and `register` is not given
 * @throws Error of `prom-client` if the registry already contains metrics with these names
 */
export function createMetrics(options: MetricsOptions): Metrics {
  assertNoInstance(options, '{ handlers: { cache: handler } }');
  assertOptions(options, CHECKS);
  const { handlers = {}, servers = {}, stores = {}, processes, register = newRegistry() } = options;
  assertStatsSources('handlers', handlers);
  assertStatsSources('servers', servers);
  registerMetrics(register, 'handler', handlers, HANDLER_METRICS);
  registerMetrics(register, 'server', servers, SERVER_METRICS);
  registerMetrics(register, 'store', selectStoresWithStats(stores), STORE_METRICS);
  if (processes !== undefined) registerMetrics(register, undefined, { processes }, PROCESS_METRICS);
  return {
    register,
    get contentType() {
      return register.contentType;
    },
    text: () => register.metrics(),
  };
}

function newRegistry(): PromClient.Registry {
  // loadOptional() returns unknown.
  const client = loadOptional('prom-client') as typeof PromClient | undefined;
  if (client !== undefined) return new client.Registry();
  throw invalidOption(
    'register',
    'a registry, because the package prom-client is not installed (npm install prom-client)',
    undefined,
  );
}

function registerMetrics<Stats>(
  register: PromClient.Registry,
  label: string | undefined,
  sources: Readonly<Record<string, StatsSource<Stats>>>,
  definitions: readonly Definition<Stats>[],
): void {
  const entries = Object.entries(sources);
  if (entries.length === 0) return;
  const snapshots = new Snapshots(entries);
  // The cast is safe: of a metric, a registry uses only the members that StatsMetric has. The metric classes of
  // prom-client are not used, because they have counters of their own.
  for (const definition of definitions) {
    register.registerMetric(new StatsMetric(label, snapshots, definition) as unknown as PromClient.Metric<string>);
  }
}

/** Takes snapshots of the statistics of all sources. All metrics of a scrape share one snapshot. */
class Snapshots<Stats> {
  readonly #sources: readonly (readonly [string, StatsSource<Stats>])[];
  #current: Promise<readonly (readonly [string, Stats])[]> | undefined;

  constructor(sources: readonly (readonly [string, StatsSource<Stats>])[]) {
    this.#sources = sources;
  }

  take(): Promise<readonly (readonly [string, Stats])[]> {
    if (this.#current === undefined) {
      this.#current = Promise.all(this.#sources.map(async ([name, source]) => [name, await source.stats()] as const));
      // A registry calls get() of all metrics in one synchronous loop, so the snapshot lasts exactly one scrape.
      queueMicrotask(() => {
        this.#current = undefined;
      });
    }
    return this.#current;
  }
}

/** Metric that reads its values from statistics. It has the members that a registry of prom-client uses. */
class StatsMetric<Stats> {
  // Mutable: an OpenMetrics registry removes `_total` from the name.
  name: string;
  readonly help: string;
  readonly type: Definition<Stats>['type'];
  /** Method by which prom-client aggregates the values of several processes. */
  readonly aggregator = 'sum';
  readonly #label: string | undefined;
  readonly #snapshots: Snapshots<Stats>;
  readonly #definition: Definition<Stats>;

  constructor(label: string | undefined, snapshots: Snapshots<Stats>, definition: Definition<Stats>) {
    this.name = definition.name;
    this.help = definition.help;
    this.type = definition.type;
    this.#label = label;
    this.#snapshots = snapshots;
    this.#definition = definition;
  }

  async get() {
    const { name, help, type, aggregator } = this;
    const snapshots = await this.#snapshots.take();
    const values: Sample[] = snapshots
      .flatMap(([source, stats]) =>
        this.#definition.samples(stats, this.#label === undefined ? {} : { [this.#label]: source }),
      )
      .map((sample) => ({ ...sample, labels: printableLabels(sample.labels) }));
    return { name, help, type, aggregator, values };
  }

  /** Does nothing: the counters belong to the handler, server or store. */
  reset(): void {}
}

/** prom-client escapes only what the text format requires. Names of stores and protocols are chosen by the host. */
function printableLabels(labels: Labels): Labels {
  return Object.fromEntries(Object.entries(labels).map(([name, value]) => [name, printable(value)]));
}

function selectStoresWithStats(
  stores: Readonly<Record<string, Partial<StatsSource<StoreStats>>>>,
): Record<string, StatsSource<StoreStats>> {
  const sources: Record<string, StatsSource<StoreStats>> = {};
  for (const [name, store] of Object.entries(stores)) {
    if (store.stats !== undefined) sources[name] = { stats: () => store.stats?.() ?? {} };
  }
  return sources;
}

function assertStatsSources(option: string, sources: Readonly<Record<string, unknown>>): void {
  for (const [name, source] of Object.entries(sources)) {
    const stats = typeof source === 'object' && source !== null && 'stats' in source ? source.stats : undefined;
    if (typeof stats !== 'function')
      throw invalidOption(`${option}.${name}`, 'an object with a stats() method', source);
  }
}
