import { tmpdir } from 'node:os';
import { assertStore } from '../../contract/assert-store.js';
import type { Store } from '../../contract/store.js';
import {
  assertNoInstance,
  assertOptions,
  BYTES,
  countFrom,
  invalidOption,
  MILLISECONDS,
  OBJECT,
  type OptionCheck,
  oneOf,
} from '../../contract/validation.js';
import { definedOnly } from '../../util/defined-only.js';

/** Options of {@link tieredStore}. Times are in milliseconds, sizes in bytes. */
export interface TieredStoreOptions extends LimitOptions {
  /**
   * Store that is searched first. It receives a copy of each artifact that is downloaded from `remote`. It must have
   * `put`.
   */
  readonly local: Store;
  /** Store that is searched on a miss in `local`. Uploads and deletions are sent to it if it has `put` and `delete`. */
  readonly remote: Store;
  /**
   * Time at which an upload succeeds. `'writeThrough'`: when the local store has the artifact, and the remote store has
   * it or has failed. `'writeBack'`: when the local store has it; the remote store receives it in the background.
   * Default: `'writeThrough'`.
   */
  readonly writes?: 'writeThrough' | 'writeBack' | undefined;
  /**
   * Directory of the replication queue. It is created if it does not exist. Required with `'writeBack'`, otherwise not
   * allowed. Processes that share this directory must also share the local store.
   */
  readonly queueDir?: string | undefined;
  /**
   * Existing, writable directory for artifacts in flight. Files in it are unlinked as soon as they are open. Default:
   * `os.tmpdir()`.
   */
  readonly spoolDir?: string | undefined;
}

type LimitOptions = { readonly [Name in keyof TieredLimits]?: TieredLimits[Name] | undefined };

/** Limits of a tiered store. The defaults are in {@link DEFAULT_LIMITS}. */
export interface TieredLimits {
  /** Maximum time for a lookup in the remote store. A lookup that takes longer counts as a miss. Default: 5,000. */
  readonly lookupTimeoutMs: number;
  /** Time for which a miss of the remote store is cached. `0` disables the cache. Default: 2,000. */
  readonly missTtlMs: number;
  /** Maximum number of cached misses. Default: 10,000. */
  readonly maxMisses: number;
  /**
   * Memory for all artifacts in flight together. When it is used up, artifacts in flight are written to `spoolDir`.
   * Default: 64 MiB.
   */
  readonly spoolMemoryBytes: number;
  /**
   * Maximum disk space for the files in `spoolDir`. An artifact that exceeds this limit or the size of the local store is
   * downloaded separately for each client and not stored. If an artifact without a size exceeds the limit, its download
   * fails. Default: 8 GiB.
   */
  readonly maxSpoolBytes: number;
  /** Number of consecutive failures of the remote store after which the circuit breaker opens. Default: 5. */
  readonly failureThreshold: number;
  /**
   * Time until an open circuit breaker admits one request as a probe. It doubles with each failed probe, up to one
   * minute. Default: 2,000.
   */
  readonly cooldownMs: number;
  /** Maximum number of keys in the replication queue. A full queue drops its oldest key. Default: 10,000. */
  readonly maxQueued: number;
}

export const DEFAULT_LIMITS: TieredLimits = {
  lookupTimeoutMs: 5000,
  missTtlMs: 2000,
  maxMisses: 10_000,
  spoolMemoryBytes: 64 * 1024 * 1024,
  maxSpoolBytes: 8 * 1024 * 1024 * 1024,
  failureThreshold: 5,
  cooldownMs: 2000,
  maxQueued: 10_000,
};

/** Validated options with all defaults applied. */
export interface TieredSettings {
  readonly local: WritableStore;
  readonly remote: Store;
  /** Directory of the replication queue; undefined with `'writeThrough'`. */
  readonly queueDir: string | undefined;
  readonly spoolDir: string;
  readonly limits: TieredLimits;
}

export type WritableStore = Store & Pick<Required<Store>, 'put'>;

/**
 * Validates the options and applies the defaults.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`, `ERR_HOTBLOB_INVALID_STORE`
 */
export function tieredSettingsOf(options: TieredStoreOptions): TieredSettings {
  assertNoInstance(options, '{ local, remote }');
  assertOptions(options, CHECKS);
  const { local, remote, writes, queueDir, spoolDir, ...given } = options;
  assertStore('local', local, ['get', 'put']);
  assertStore('remote', remote, ['get']);
  if ((writes === 'writeBack') !== (queueDir !== undefined)) {
    throw invalidOption('queueDir', "a directory if writes is 'writeBack', otherwise no value", queueDir);
  }
  return {
    local: local as WritableStore, // assertStore has checked it.
    remote,
    queueDir,
    spoolDir: spoolDir ?? tmpdir(),
    limits: { ...DEFAULT_LIMITS, ...definedOnly(given) },
  };
}

const DIRECTORY: OptionCheck = {
  expected: 'the path of a directory',
  accepts: (value) => typeof value === 'string' && value !== '',
};

const CHECKS: Readonly<Record<keyof TieredStoreOptions, OptionCheck>> = {
  local: OBJECT,
  remote: OBJECT,
  writes: oneOf('writeThrough', 'writeBack'),
  queueDir: DIRECTORY,
  spoolDir: DIRECTORY,
  lookupTimeoutMs: MILLISECONDS,
  missTtlMs: countFrom(0),
  maxMisses: countFrom(0),
  spoolMemoryBytes: BYTES,
  maxSpoolBytes: BYTES,
  failureThreshold: countFrom(1),
  cooldownMs: MILLISECONDS,
  maxQueued: countFrom(1),
};
