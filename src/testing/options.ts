import type { Store } from '../contract/store.js';
import { assertOptions, countFrom, FLAG, invalidOption, OBJECT, type OptionCheck } from '../contract/validation.js';

/** Capabilities of a store beyond `get`. A capability that is not given has its default. */
export interface StoreCapabilities {
  /** Whether the store has `put`. If false, the option `seed` is required. Default: true. */
  readonly writable?: boolean | undefined;
  /** Whether the store has `delete`. Default: the value of `writable`. */
  readonly deletable?: boolean | undefined;
  /**
   * Whether every artifact has a size. The handler serves ranges only of artifacts with a size. Set it to false if
   * `get` returns streams without `size`. Default: true.
   */
  readonly ranges?: boolean | undefined;
  /** Whether `created` in the result of `put` is true for a new key and false for an existing one. Default: true. */
  readonly reportsCreated?: boolean | undefined;
  /**
   * Whether a read in flight completes when its artifact is overwritten, deleted or evicted. If false, the read may fail
   * instead, but must never return a part of the artifact or a mix of two. Default: true.
   */
  readonly survivesDelete?: boolean | undefined;
  /** Whether `put` implements `ifAbsent`. If false, the option is not checked. Default: true. */
  readonly ifAbsent?: boolean | undefined;
  /** Whether `get` returns the metadata of the upload. If false, metadata is not checked. Default: false. */
  readonly metadata?: boolean | undefined;
  /**
   * Number of bytes above which the store evicts artifacts: at least four times `largeBytes`. The eviction tests upload
   * up to three times as many bytes. Default: the store never evicts.
   */
  readonly evictsAbove?: number | undefined;
}

/**
 * Registers a test: the `test` function of AVA, node:test, Vitest or Jest, or any other function that awaits the
 * promise returned by the body.
 */
export type RegisterTest = (title: string, body: (...context: readonly unknown[]) => Promise<void>) => unknown;

/** Options of {@link storeConformance}. */
export interface StoreConformanceOptions<S extends Store = Store> {
  /** The `test` function of the runner. Called once for each check, before {@link storeConformance} returns. */
  readonly test: RegisterTest;
  /**
   * Creates an empty store. Called once for each check. At most four checks run at the same time, each with its own
   * store.
   */
  readonly createStore: () => S | Promise<S>;
  /** Prefix of the titles. Some runners require unique titles within a file. Default: `store`. */
  readonly name?: string | undefined;
  /** Capabilities of the store. Default: everything except `metadata` and `evictsAbove`. */
  readonly capabilities?: StoreCapabilities | undefined;
  /** Removes what the store leaves behind. Called after the store was closed. Default: nothing. */
  readonly disposeStore?: ((store: S) => unknown) | undefined;
  /** Adds an artifact to a read-only store. Required if `writable` is false, otherwise not used. Default: none. */
  readonly seed?: ((store: S, key: string, bytes: Uint8Array) => unknown) | undefined;
  /**
   * Returns the names of everything that the store keeps, for example all files below its directory. Failed uploads
   * must not change the result. Default: none; the suite then detects only leftovers that `get` returns.
   */
  readonly inventory?: ((store: S) => readonly string[] | Promise<readonly string[]>) | undefined;
  /**
   * Size of a large artifact in bytes, at least 256 KiB. Choose a size above the thresholds of the store, for example its chunk
   * or part size. Default: 3 MiB and 13 bytes.
   */
  readonly largeBytes?: number | undefined;
  /**
   * Timeout of a single operation of the store, in milliseconds. The runner has a timeout of its own for a whole test:
   * 5 s in Jest and Vitest. For a slow store, raise both. Default: 30,000.
   */
  readonly timeoutMs?: number | undefined;
}

/** Capabilities with defaults applied. */
export interface Capabilities {
  readonly writable: boolean;
  readonly deletable: boolean;
  readonly ranges: boolean;
  readonly reportsCreated: boolean;
  readonly survivesDelete: boolean;
  readonly ifAbsent: boolean;
  readonly metadata: boolean;
  readonly evictsAbove: number | undefined;
}

/** Options with defaults applied. */
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

/**
 * Minimum of `largeBytes`. A smaller artifact could arrive completely in the first chunk, which would hide errors in
 * partial reads.
 */
const MIN_LARGE_BYTES = 256 * 1024;
const DEFAULT_LARGE_BYTES = 3 * 1024 * 1024 + 13;
const DEFAULT_TIMEOUT_MS = 30_000;

/**
 * Validates the options and applies the defaults.
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
    throw invalidOption('evictsAbove', `at least ${4 * largeBytes} (four times largeBytes)`, evictsAbove);
  }
  if (!writable && seed === undefined) throw invalidOption('seed', 'a function, because writable is false', seed);
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

function capabilitiesOf(capabilities: StoreCapabilities): Capabilities {
  assertOptions(capabilities, CAPABILITY_CHECKS);
  return {
    writable: capabilities.writable ?? true,
    deletable: capabilities.deletable ?? capabilities.writable ?? true,
    ranges: capabilities.ranges ?? true,
    reportsCreated: capabilities.reportsCreated ?? true,
    survivesDelete: capabilities.survivesDelete ?? true,
    ifAbsent: capabilities.ifAbsent ?? true,
    metadata: capabilities.metadata ?? false,
    evictsAbove: capabilities.evictsAbove,
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
  reportsCreated: FLAG,
  survivesDelete: FLAG,
  ifAbsent: FLAG,
  metadata: FLAG,
  evictsAbove: countFrom(1),
};
