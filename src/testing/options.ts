import type { Store } from '../contract/store.js';
import { assertOptions, countFrom, FLAG, invalidOption, OBJECT, type OptionCheck } from '../contract/validation.js';

/** What a store can do beyond `get`. What is not said is expected. */
export interface StoreCapabilities {
  /** Whether it has `put`. Without it, say `seed`. Default: true. */
  readonly writable?: boolean | undefined;
  /** Whether it has `delete`. Default: what `writable` is. */
  readonly deletable?: boolean | undefined;
  /** Whether its artifacts say how long they are, so that ranges of them are served. False for streams without `size`. Default: true. */
  readonly ranges?: boolean | undefined;
  /** Whether `created`, as `put` resolves to it, is true for a key that was free and false for one that was not. Default: true. */
  readonly tellsCreated?: boolean | undefined;
  /**
   * Whether a read that has begun comes to its end when its artifact is overwritten, deleted or evicted meanwhile. Where it
   * does not, it has to fail: half an artifact, or parts of two, are never right. Default: true.
   */
  readonly survivesDelete?: boolean | undefined;
  /** Whether what an upload says about itself comes back with its artifact. Default: false, and then it is not looked at. */
  readonly metadata?: boolean | undefined;
  /**
   * How many bytes of artifacts the store may hold before it makes room by itself, at least four times `largeBytes`; three
   * times as many are put into it. Default: it never makes room.
   */
  readonly evictsAbove?: number | undefined;
}

/** What registers a test: the `test` of AVA, node:test, Vitest, Jest, and of others that await what a test's body returns. */
export type RegisterTest = (title: string, body: (...context: readonly unknown[]) => Promise<void>) => unknown;

/** What {@link storeConformance} takes. */
export interface StoreConformanceOptions<S extends Store = Store> {
  /** The runner's own function. Called once for each check, before {@link storeConformance} returns. */
  readonly test: RegisterTest;
  /** Makes an empty store. Called once by each check; where the runner runs tests at the same time, up to four of them do. */
  readonly createStore: () => S | Promise<S>;
  /** What the titles begin with: some runners want each title once in a file. Default: `store`. */
  readonly name?: string | undefined;
  /** What the store can do. Default: everything but keeping metadata and making room. */
  readonly capabilities?: StoreCapabilities | undefined;
  /** Removes what a store has left behind, after it was closed. Default: nothing to remove. */
  readonly disposeStore?: ((store: S) => unknown) | undefined;
  /** Puts an artifact where a store that is only read finds it. Asked where `writable` is false, and needed there. */
  readonly seed?: ((store: S, key: string, bytes: Uint8Array) => unknown) | undefined;
  /**
   * Names what the store keeps, such as all files below its directory. Uploads that have failed must not change it: without
   * this option the suite sees only what `get` finds. Default: not looked at.
   */
  readonly inventory?: ((store: S) => readonly string[] | Promise<readonly string[]>) | undefined;
  /** The size of a large artifact, in bytes: beyond the point from which the store does things in another way. Default: 3 MiB and 13 bytes. */
  readonly largeBytes?: number | undefined;
  /**
   * How long a single step of the store may take, in milliseconds. Runners have a limit of their own for a whole test: 5 s
   * in Jest and Vitest, where a slow store needs a higher one. Default: 30,000.
   */
  readonly timeoutMs?: number | undefined;
}

/** Capabilities with nothing left out. */
export interface Capabilities {
  readonly writable: boolean;
  readonly deletable: boolean;
  readonly ranges: boolean;
  readonly tellsCreated: boolean;
  readonly survivesDelete: boolean;
  readonly metadata: boolean;
  readonly evictsAbove: number | undefined;
}

/** The options with nothing left out. */
export interface Settings<S extends Store> {
  readonly test: RegisterTest;
  readonly createStore: () => S | Promise<S>;
  readonly name: string;
  readonly capabilities: Capabilities;
  readonly disposeStore: ((store: S) => unknown) | undefined;
  readonly seed: ((store: S, key: string, bytes: Uint8Array) => unknown) | undefined;
  readonly inventory: ((store: S) => readonly string[] | Promise<readonly string[]>) | undefined;
  readonly largeBytes: number;
  readonly timeoutMs: number;
}

/** Below this, what is read in pieces would be there with the first one. */
const MIN_LARGE_BYTES = 256 * 1024;
const DEFAULT_LARGE_BYTES = 3 * 1024 * 1024 + 13;
const DEFAULT_TIMEOUT_MS = 30_000;

/**
 * Fills in the defaults.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 */
export function settingsOf<S extends Store>(options: StoreConformanceOptions<S>): Settings<S> {
  assertOptions(options, CHECKS);
  for (const name of ['test', 'createStore'] as const) {
    if (options[name] === undefined) throw invalidOption(name, FUNCTION.expected, undefined);
  }
  const { test, createStore, disposeStore, seed, inventory } = options;
  const largeBytes = options.largeBytes ?? DEFAULT_LARGE_BYTES;
  const capabilities = capabilitiesOf(options.capabilities ?? {});
  const { evictsAbove, writable } = capabilities;
  if (evictsAbove !== undefined && evictsAbove < 4 * largeBytes) {
    throw invalidOption('evictsAbove', `at least four times largeBytes, ${4 * largeBytes}`, evictsAbove);
  }
  if (!writable && seed === undefined) throw invalidOption('seed', 'a function, because nothing can be put', seed);
  return {
    test,
    createStore,
    name: options.name ?? 'store',
    capabilities,
    disposeStore,
    seed,
    inventory,
    largeBytes,
    timeoutMs: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
  };
}

function capabilitiesOf(given: StoreCapabilities): Capabilities {
  assertOptions(given, CAPABILITY_CHECKS);
  return {
    writable: given.writable ?? true,
    deletable: given.deletable ?? given.writable ?? true,
    ranges: given.ranges ?? true,
    tellsCreated: given.tellsCreated ?? true,
    survivesDelete: given.survivesDelete ?? true,
    metadata: given.metadata ?? false,
    evictsAbove: given.evictsAbove,
  };
}

const FUNCTION: OptionCheck = {
  expected: 'a function',
  accepts: (value) => typeof value === 'function',
};

const CHECKS: Readonly<Record<keyof StoreConformanceOptions, OptionCheck>> = {
  test: FUNCTION,
  createStore: FUNCTION,
  name: { expected: 'a string', accepts: (value) => typeof value === 'string' },
  capabilities: OBJECT,
  disposeStore: FUNCTION,
  seed: FUNCTION,
  inventory: FUNCTION,
  largeBytes: countFrom(MIN_LARGE_BYTES),
  timeoutMs: countFrom(1),
};

const CAPABILITY_CHECKS: Readonly<Record<keyof StoreCapabilities, OptionCheck>> = {
  writable: FLAG,
  deletable: FLAG,
  ranges: FLAG,
  tellsCreated: FLAG,
  survivesDelete: FLAG,
  metadata: FLAG,
  evictsAbove: countFrom(1),
};
