import { HotblobError } from '../contract/errors.js';
import type { PurgeFilter, PurgeOptions, PurgeResult } from '../contract/purge.js';
import type { StoreEntry } from '../contract/store.js';
import { assertOptions, FLAG, type OptionCheck } from '../contract/validation.js';
import { purgeMatcher } from '../keys/purge-matcher.js';
import { pause } from '../util/loop-slices.js';

/** Minimum interval between two reports of the progress, in milliseconds. */
const REPORT_INTERVAL_MS = 100;

const CHECKS: Readonly<Record<keyof PurgeOptions, OptionCheck>> = {
  dryRun: FLAG,
  signal: { expected: 'an AbortSignal', accepts: (value) => value instanceof AbortSignal },
  onProgress: { expected: 'a function', accepts: (value) => typeof value === 'function' },
};

/** Part of a store that {@link Purges} needs. */
export interface PurgeableStore {
  /** Lists the artifacts, for a dry run. */
  list(): AsyncIterable<StoreEntry>;
  /** Deletes the artifacts that match. */
  purge(purge: Purge): Promise<void>;
}

/** Purges of a store, one at a time: two would do the same work twice. */
export class Purges {
  readonly #store: PurgeableStore;
  #isRunning = false;

  constructor(store: PurgeableStore) {
    this.#store = store;
  }

  /**
   * Implements `purge` of a store.
   *
   * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`; `ERR_HOTBLOB_PURGING` if another purge runs
   * @throws the error of the store or of `onProgress`, or the reason of the signal
   */
  async run(filter: PurgeFilter, options: PurgeOptions = {}): Promise<PurgeResult> {
    const purge = new Purge(filter, options);
    if (this.#isRunning) {
      const message = 'purge: another purge of this store is running; wait until it has ended, or stop it';
      throw new HotblobError('ERR_HOTBLOB_PURGING', message);
    }
    this.#isRunning = true;
    try {
      options.signal?.throwIfAborted();
      if (options.dryRun) await countMatches(purge, this.#store.list());
      else await this.#store.purge(purge);
      return purge.end();
    } finally {
      this.#isRunning = false;
    }
  }
}

/**
 * Counts the artifacts of a list that match a filter: a dry run of a purge.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 * @throws the error of the list or of `onProgress`, or the reason of the signal
 */
export async function dryRun(
  entries: AsyncIterable<StoreEntry>,
  filter: PurgeFilter,
  options: PurgeOptions,
): Promise<PurgeResult> {
  const purge = new Purge(filter, options);
  await countMatches(purge, entries);
  return purge.end();
}

async function countMatches(purge: Purge, entries: AsyncIterable<StoreEntry>): Promise<void> {
  for await (const entry of entries) {
    purge.examine(1);
    if (purge.matches(entry)) purge.count(entry.size);
    await pause();
  }
}

/** Purge in progress. */
export class Purge {
  readonly matches: ReturnType<typeof purgeMatcher>;
  readonly #signal: AbortSignal | undefined;
  readonly #onProgress: PurgeOptions['onProgress'];
  #artifacts = 0;
  #bytes = 0;
  #scanned = 0;
  #reportedAt = performance.now();

  /** @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` */
  constructor(filter: PurgeFilter, options: PurgeOptions) {
    this.matches = purgeMatcher(filter);
    assertOptions(options, CHECKS);
    this.#signal = options.signal;
    this.#onProgress = options.onProgress;
  }

  /**
   * Counts artifacts that are compared with the filter, and reports the progress. Called before artifacts are deleted.
   *
   * @throws the reason of the signal, or the error of `onProgress`
   */
  examine(artifacts: number): void {
    this.#signal?.throwIfAborted();
    this.#scanned += artifacts;
    if (this.#onProgress === undefined || performance.now() - this.#reportedAt < REPORT_INTERVAL_MS) return;
    this.#report();
  }

  /** Counts an artifact that was deleted, or would be. */
  count(bytes: number): void {
    this.#artifacts++;
    this.#bytes += bytes;
  }

  /** Reports the progress at the end, and returns the result. */
  end(): PurgeResult {
    this.#report();
    return { artifacts: this.#artifacts, bytes: this.#bytes };
  }

  #report(): void {
    this.#reportedAt = performance.now();
    this.#onProgress?.({ artifacts: this.#artifacts, bytes: this.#bytes, scanned: this.#scanned });
  }
}
