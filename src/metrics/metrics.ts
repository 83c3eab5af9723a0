import type * as PromClient from 'prom-client';
import type { Store, StoreStats } from '../contract/store.js';
import { assertOptions, invalidOption, OBJECT } from '../contract/validation.js';
import type { Counting, HandlerStats } from '../handler/stats.js';
import type { ServerStats } from '../server/stats.js';
import { loadOptional } from '../util/load-optional.js';
import { type Definition, HANDLER_METRICS, SERVER_METRICS, STORE_METRICS } from './definitions.js';
import type { Sample } from './sample.js';

/** What {@link createMetrics} takes. Names become the label that tells several of a kind apart. */
export interface MetricsOptions {
  /** Handlers, and senders of routes. Default: none. */
  readonly handlers?: Readonly<Record<string, Counting<HandlerStats>>> | undefined;
  /** Servers made by `createServer`. Default: none. */
  readonly servers?: Readonly<Record<string, Counting<ServerStats>>> | undefined;
  /** Stores; one without `stats` has no metrics. Default: none. */
  readonly stores?: Readonly<Record<string, Pick<Store, 'stats'>>> | undefined;
  /** Where the metrics go, beside those that are there. Default: one of their own. */
  readonly register?: PromClient.Registry | undefined;
}

/** The metrics of handlers, servers and stores, for Prometheus. */
export interface Metrics {
  /** Where they are. */
  readonly register: PromClient.Registry;
  /** The `Content-Type` of {@link text}. */
  readonly contentType: string;
  /** All metrics of the registry as they are now. */
  text(): Promise<string>;
}

const CHECKS = { handlers: OBJECT, servers: OBJECT, stores: OBJECT, register: OBJECT };

/**
 * Exports what is counted, through `prom-client`, whose registry may have more: its own process metrics, or a host's.
 * Values are read when somebody asks for them, so that requests pay for nothing but the counting that is always done.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown name, for what has no `stats`, and where there is neither
 * a registry nor `prom-client`; what `prom-client` throws for a registry that has metrics of these names already
 */
export function createMetrics(options: MetricsOptions): Metrics {
  assertOptions(options, CHECKS);
  const { handlers = {}, servers = {}, stores = {}, register = newRegistry() } = options;
  assertCounting('handlers', handlers);
  assertCounting('servers', servers);
  add(register, 'handler', handlers, HANDLER_METRICS);
  add(register, 'server', servers, SERVER_METRICS);
  add(register, 'store', withStats(stores), STORE_METRICS);
  return {
    register,
    get contentType() {
      return register.contentType;
    },
    text: () => register.metrics(),
  };
}

function newRegistry(): PromClient.Registry {
  // prom-client's types describe what its module holds
  const client = loadOptional('prom-client') as typeof PromClient | undefined;
  if (client !== undefined) return new client.Registry();
  throw invalidOption('register', 'a registry, or the package prom-client (npm install prom-client)', undefined);
}

function add<Stats>(
  register: PromClient.Registry,
  label: string,
  sources: Readonly<Record<string, Counting<Stats>>>,
  definitions: readonly Definition<Stats>[],
): void {
  const named = Object.entries(sources);
  if (named.length === 0) return;
  const snapshots = new Snapshots(named);
  // prom-client asks nothing of a metric but what CountedMetric has; its own classes count for themselves.
  for (const definition of definitions) {
    register.registerMetric(new CountedMetric(label, snapshots, definition) as unknown as PromClient.Metric<string>);
  }
}

/** The stats of all sources, taken once for all metrics that are asked for at the same time. */
class Snapshots<Stats> {
  readonly #sources: readonly (readonly [string, Counting<Stats>])[];
  #current: readonly (readonly [string, Stats])[] | undefined;

  constructor(sources: readonly (readonly [string, Counting<Stats>])[]) {
    this.#sources = sources;
  }

  take(): readonly (readonly [string, Stats])[] {
    if (this.#current === undefined) {
      this.#current = this.#sources.map(([name, source]) => [name, source.stats()]);
      // A registry asks all of its metrics in one go.
      queueMicrotask(() => {
        this.#current = undefined;
      });
    }
    return this.#current;
  }
}

/** A metric as a registry of prom-client wants it, whose values are counted elsewhere. */
class CountedMetric<Stats> {
  // Registries of OpenMetrics take `_total` off the name.
  name: string;
  readonly help: string;
  readonly type: Definition<Stats>['type'];
  /** How the metrics of several processes become one: they are added up. */
  readonly aggregator = 'sum';
  readonly #label: string;
  readonly #snapshots: Snapshots<Stats>;
  readonly #definition: Definition<Stats>;

  constructor(label: string, snapshots: Snapshots<Stats>, definition: Definition<Stats>) {
    this.name = definition.name;
    this.help = definition.help;
    this.type = definition.type;
    this.#label = label;
    this.#snapshots = snapshots;
    this.#definition = definition;
  }

  async get() {
    const { name, help, type, aggregator } = this;
    const values: Sample[] = this.#snapshots
      .take()
      .flatMap(([source, stats]) => this.#definition.samples(stats, { [this.#label]: source }));
    return { name, help, type, aggregator, values };
  }

  /** What is counted for others too cannot be set back. */
  reset(): void {}
}

function withStats(stores: Readonly<Record<string, Pick<Store, 'stats'>>>): Record<string, Counting<StoreStats>> {
  const counting: Record<string, Counting<StoreStats>> = {};
  for (const [name, store] of Object.entries(stores)) {
    if (store.stats !== undefined) counting[name] = { stats: () => store.stats?.() ?? {} };
  }
  return counting;
}

function assertCounting(option: string, sources: Readonly<Record<string, unknown>>): void {
  for (const [name, source] of Object.entries(sources)) {
    const stats = typeof source === 'object' && source !== null && 'stats' in source ? source.stats : undefined;
    if (typeof stats !== 'function') throw invalidOption(`${option}.${name}`, 'something with stats()', source);
  }
}
