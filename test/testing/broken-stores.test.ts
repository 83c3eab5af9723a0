import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { type StoreConformanceOptions, storeConformance } from '../../src/testing/index.js';
import { brokenConcurrency } from './broken-concurrency.js';
import { brokenInFlight } from './broken-in-flight.js';
import { brokenListing } from './broken-listing.js';
import { brokenLookups, brokenStreams } from './broken-lookups.js';
import { brokenMetadata } from './broken-metadata.js';
import { brokenPurging } from './broken-purging.js';
import { brokenRemovals } from './broken-removals.js';
import { brokenAborts, brokenUploads } from './broken-uploads.js';
import { type BrokenStore, LARGE_BYTES, PlainStore } from './plain-stores.js';

const BROKEN: Readonly<Record<string, BrokenStore>> = {
  ...brokenLookups,
  ...brokenStreams,
  ...brokenUploads,
  ...brokenAborts,
  ...brokenConcurrency,
  ...brokenInFlight,
  ...brokenMetadata,
  ...brokenRemovals,
  ...brokenListing,
  ...brokenPurging,
};

type Body = (...context: readonly unknown[]) => Promise<void>;

/** Returns the registered checks by title. */
function checksOf(options: Omit<StoreConformanceOptions, 'test'>): Map<string, Body> {
  const checks = new Map<string, Body>();
  storeConformance({ ...options, name: 'it', test: (title, body) => checks.set(title.replace(/^it: /, ''), body) });
  return checks;
}

const temporary = await mkdtemp('/var/tmp/hotblob-broken-');
test.after.always(() => rm(temporary, { recursive: true, force: true }));

// Serial: some faults are found by a deadline, which must not depend on the load of other tests.
for (const [index, [fault, { create, fails, options }]] of Object.entries(BROKEN).entries()) {
  test.serial(`finds the fault of a store that ${fault}`, async (t) => {
    const directories = new WeakMap<object, string>();
    let count = 0;
    const checks = checksOf({
      createStore: () => {
        const directory = join(temporary, `${index}-${count++}`);
        const store = create(directory);
        directories.set(store, directory);
        return store;
      },
      inventory: (store) => readdir(directories.get(store) ?? '').catch(() => []),
      largeBytes: LARGE_BYTES,
      ...options,
      // Many faults of uploads would fail these checks too.
      capabilities: { ifAbsent: false, ...options?.capabilities },
    });
    const failures = new Map<string, string>();
    await Promise.all(
      [...checks].map(([title, body]) => body().catch((error: Error) => failures.set(title, error.message))),
    );
    const expected = fails === 'every check' ? [...checks.keys()] : fails;
    t.deepEqual([...failures.keys()].sort(), [...expected].sort(), JSON.stringify([...failures], undefined, 2));
  });
}

test('for every check there is a store that fails it', (t) => {
  const all = [{}, { metadata: true }, { evictsAbove: 8 * LARGE_BYTES }, { ranges: false }].flatMap((capabilities) => [
    ...checksOf({ createStore: () => new PlainStore(), largeBytes: LARGE_BYTES, capabilities }).keys(),
  ]);
  const failed = new Set(Object.values(BROKEN).flatMap(({ fails }) => (fails === 'every check' ? [] : fails)));
  t.deepEqual(
    [...new Set(all)].filter((title) => !failed.has(title)),
    [],
  );
});
