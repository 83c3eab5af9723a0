import type { Readable } from 'node:stream';
import type { PurgeFilter, PurgeOptions, PurgeResult } from '../../src/contract/purge.js';
import type { PutOptions } from '../../src/contract/store.js';
import { purgeMatcher } from '../../src/keys/purge-matcher.js';
import { type BrokenStore, PlainStore } from './plain-stores.js';

const DELETED = 'purge() deletes the artifacts that match, and no others';
const USED = 'purge() keeps artifacts that were used after usedBefore';
const INVALID = 'purge() rejects an unknown or invalid member of the filter, and deletes nothing';
const ABORTED = 'purge() with an aborted signal rejects with its reason, and deletes nothing';
const PROGRESS = 'purge() reports its progress';
const READ = 'purge() does not affect a read in flight';
const UPLOAD = 'purge() does not affect uploads in flight, nor later ones';

/** Correct store with purge(). */
class PurgingStore extends PlainStore {
  async purge(filter: PurgeFilter, options: PurgeOptions = {}): Promise<PurgeResult> {
    const matches = purgeMatcher(filter);
    options.signal?.throwIfAborted();
    let artifacts = 0;
    let bytes = 0;
    for (const [key, body] of [...this.artifacts]) {
      if (!matches({ key, usedAt: Date.now() })) continue;
      artifacts++;
      bytes += body.byteLength;
      if (!options.dryRun) this.remove(key, body);
      options.onProgress?.({ artifacts, bytes, scanned: artifacts });
    }
    return { artifacts, bytes };
  }

  protected remove(key: string, _bytes: Buffer): void {
    this.artifacts.delete(key);
  }
}

/** Returns a store that passes a changed filter and changed options to a correct purge(). */
const withCall = (change: (filter: PurgeFilter, options: PurgeOptions) => [PurgeFilter, PurgeOptions]) => () =>
  new (class extends PurgingStore {
    override purge(filter: PurgeFilter, options: PurgeOptions = {}): Promise<PurgeResult> {
      return super.purge(...change(filter, options));
    }
  })();

/** Stores that break `purge`. */
export const brokenPurging: Readonly<Record<string, BrokenStore>> = {
  'purges correctly': { fails: [], create: () => new PurgingStore() },
  'ignores the namespace of a purge': {
    fails: [DELETED],
    create: withCall(({ namespace, ...filter }, options) => [filter, options]),
  },
  'ignores a dry run': {
    fails: [DELETED],
    create: withCall((filter, options) => [filter, { ...options, dryRun: false }]),
  },
  'purges nothing, and says that it did': {
    fails: [DELETED, READ, UPLOAD],
    create: withCall((filter, options) => [filter, { ...options, dryRun: true }]),
  },
  'ignores usedBefore': {
    fails: [USED, INVALID],
    create: withCall(({ usedBefore, ...filter }, options) => [filter, options]),
  },
  'ignores unknown members of a filter': {
    fails: [INVALID],
    create: withCall(({ scope, namespace, protocol, usedBefore }, options) => [
      { scope, namespace, protocol, usedBefore },
      options,
    ]),
  },
  'ignores the signal of a purge': {
    fails: [ABORTED],
    create: withCall((filter, options) => [filter, { ...options, signal: undefined }]),
  },
  'reports more artifacts than it scans': {
    fails: [PROGRESS],
    create: withCall((filter, { onProgress, ...options }) => [
      filter,
      { ...options, onProgress: (progress) => onProgress?.({ ...progress, scanned: 0 }) },
    ]),
  },
  'overwrites the artifacts that it purges': {
    fails: [READ],
    create: () =>
      new (class extends PurgingStore {
        protected override remove(key: string, bytes: Buffer): void {
          super.remove(key, bytes);
          bytes.fill(0);
        }
      })(),
  },
  'drops uploads that were in flight during a purge': {
    fails: [UPLOAD],
    create: () =>
      new (class extends PurgingStore {
        #purges = 0;
        override purge(filter: PurgeFilter, options?: PurgeOptions): Promise<PurgeResult> {
          this.#purges++;
          return super.purge(filter, options);
        }
        override async put(key: string, body: Readable, options: PutOptions) {
          const before = this.#purges;
          const result = await super.put(key, body, options);
          if (before !== this.#purges) this.artifacts.delete(key);
          return result;
        }
      })(),
  },
};
