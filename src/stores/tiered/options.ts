import { tmpdir } from 'node:os';
import { HotblobError } from '../../contract/errors.js';
import type { Store } from '../../contract/store.js';
import {
  assertOptions,
  BYTES,
  countFrom,
  invalidOption,
  MILLISECONDS,
  OBJECT,
  type OptionCheck,
  oneOf,
} from '../../contract/validation.js';

/** What {@link tieredStore} takes. Times are in milliseconds, sizes in bytes. */
export interface TieredStoreOptions extends LimitOptions {
  /** The near store, which answers what it has and keeps what the other one gives. It must have `put`. */
  readonly local: Store;
  /** The far store. Without `put` and `delete` it is only read. */
  readonly remote: Store;
  /**
   * `'writeThrough'`: an upload has succeeded once both have it. `'writeBack'`: once the local store has it; the remote
   * one gets it in the background. Default: `'writeThrough'`.
   */
  readonly writes?: 'writeThrough' | 'writeBack' | undefined;
  /**
   * Where it is noted what the remote store is still to get; created when absent. Required for `'writeBack'`. Processes
   * that share it must share the local store, too.
   */
  readonly queueDir?: string | undefined;
  /** Where artifacts lie while they come in, unlinked from the beginning on; an existing directory. Default: that of the system. */
  readonly spoolDir?: string | undefined;
}

type LimitOptions = { readonly [Name in keyof TieredLimits]?: TieredLimits[Name] | undefined };

/** The times and sizes, each with its default in {@link DEFAULT_LIMITS}. */
export interface TieredLimits {
  /** How long the remote store may take to say whether it has an artifact: then it is a miss. */
  readonly lookupTimeoutMs: number;
  /** How long a miss is remembered; 0: not at all. */
  readonly missTtlMs: number;
  /** How many misses are remembered. */
  readonly maxMisses: number;
  /** What artifacts that come in may take of memory, all together, before they go to `spoolDir`. */
  readonly spoolMemoryBytes: number;
  /** After so many failures in a row the remote store is left alone. */
  readonly failureThreshold: number;
  /** For so long, before one request tries again; twice as long after each that fails, up to a minute. */
  readonly cooldownMs: number;
  /** How many keys may wait for the remote store (`'writeBack'`); those that have waited longest are given up for new ones. */
  readonly maxQueued: number;
}

export const DEFAULT_LIMITS: TieredLimits = {
  lookupTimeoutMs: 5000,
  missTtlMs: 2000,
  maxMisses: 10_000,
  spoolMemoryBytes: 64 * 1024 * 1024,
  failureThreshold: 5,
  cooldownMs: 2000,
  maxQueued: 10_000,
};

/** The options with nothing left out. */
export interface TieredSettings {
  readonly local: WritableStore;
  readonly remote: Store;
  /** Undefined where writes go through. */
  readonly queueDir: string | undefined;
  readonly spoolDir: string;
  readonly limits: TieredLimits;
}

export type WritableStore = Store & Pick<Required<Store>, 'put'>;

/**
 * Fills in the defaults.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`, `ERR_HOTBLOB_INVALID_STORE`
 */
export function tieredSettingsOf(options: TieredStoreOptions): TieredSettings {
  assertOptions(options, CHECKS);
  const { local, remote, writes, queueDir, spoolDir, ...given } = options;
  assertMethods('local', local, ['get', 'put']);
  assertMethods('remote', remote, ['get']);
  if ((writes === 'writeBack') !== (queueDir !== undefined)) {
    throw invalidOption('queueDir', "a directory with writes: 'writeBack', and only with it", queueDir);
  }
  const set = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  return {
    local: local as WritableStore, // it has just been looked at
    remote,
    queueDir,
    spoolDir: spoolDir ?? tmpdir(),
    limits: { ...DEFAULT_LIMITS, ...set },
  };
}

function assertMethods(name: string, store: Store, required: readonly (keyof Store)[]): void {
  if (!OBJECT.accepts(store)) throw invalidOption(name, 'a store', store);
  for (const method of ['get', 'put', 'delete', 'close'] as const) {
    const found: unknown = store[method];
    if (typeof found === 'function' || (found === undefined && !required.includes(method))) continue;
    const message = `${name}.${method}: expected a function, received ${typeof found}`;
    throw new HotblobError('ERR_HOTBLOB_INVALID_STORE', message);
  }
}

const PATH: OptionCheck = {
  expected: 'the path of a directory',
  accepts: (value) => typeof value === 'string' && value !== '',
};

const CHECKS: Readonly<Record<keyof TieredStoreOptions, OptionCheck>> = {
  local: OBJECT,
  remote: OBJECT,
  writes: oneOf('writeThrough', 'writeBack'),
  queueDir: PATH,
  spoolDir: PATH,
  lookupTimeoutMs: MILLISECONDS,
  missTtlMs: countFrom(0),
  maxMisses: countFrom(0),
  spoolMemoryBytes: BYTES,
  failureThreshold: countFrom(1),
  cooldownMs: MILLISECONDS,
  maxQueued: countFrom(1),
};
