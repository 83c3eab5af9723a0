import type { Store } from '../contract/store.js';
import type { Check } from './checks/check.js';
import { closing } from './checks/closing.js';
import { concurrency } from './checks/concurrency.js';
import { deletions } from './checks/deletions.js';
import { failedUploads } from './checks/failed-uploads.js';
import { ifAbsent } from './checks/if-absent.js';
import { inFlight } from './checks/in-flight.js';
import { keys } from './checks/keys.js';
import { listing } from './checks/listing.js';
import { lookups } from './checks/lookups.js';
import { metadata } from './checks/metadata.js';
import { purging } from './checks/purging.js';
import { reads } from './checks/reads.js';
import { uploads } from './checks/uploads.js';
import { type Settings, type StoreConformanceOptions, settingsOf } from './options.js';
import { outcomeOf, withDeadline } from './promises.js';
import { runLimited } from './run-limited.js';
import { Subject } from './subject.js';

const CHECKS: readonly Check[] = [
  ...lookups,
  ...reads,
  ...uploads,
  ...failedUploads,
  ...metadata,
  ...concurrency,
  ...ifAbsent,
  ...inFlight,
  ...deletions,
  ...listing,
  ...purging,
  ...keys,
  ...closing,
];

/**
 * Registers tests that check a store against the contract of {@link Store}. Each test creates its own store. If the
 * store breaks a rule of the contract, the test rejects with an AssertionError or with the error of the store. Works
 * with every runner whose `test(title, body)` awaits the body: AVA, node:test, Vitest, Jest.
 *
 * ```ts
 * import test from 'ava';
 * import { storeConformance } from 'hotblob/testing';
 *
 * storeConformance({ test, createStore: () => myStore() });
 * ```
 *
 * Artifacts are read as the handler reads them. At most four tests run at the same time. Each test uploads a few MiB.
 * The eviction tests run only if `evictsAbove` is set, and upload up to three times as many bytes.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` if an option is unknown, missing or invalid
 */
export function storeConformance<S extends Store>(options: StoreConformanceOptions<S>): void {
  const settings = settingsOf(options);
  for (const check of CHECKS) {
    if (!(check.applies?.(settings.capabilities) ?? true)) continue;
    // A rest parameter keeps the `length` of this function at 0. With a named parameter, Jest would pass a callback and
    // wait for its call.
    settings.test(`${settings.name}: ${check.title}`, async (...context) => {
      await runLimited(() => run(check, settings));
      countAssertion(context[0]);
    });
  }
}

async function run<S extends Store>(check: Check, settings: Settings<S>): Promise<void> {
  const { createStore, capabilities, largeBytes, timeoutMs, seed, inventory, disposeStore } = settings;
  const store = await withDeadline(timeoutMs, 'createStore()', createStore());
  const subject = new Subject({
    store,
    capabilities,
    largeBytes,
    timeoutMs,
    seed: (key, bytes) => seed?.(store, key, bytes),
    inventory: () => inventory?.(store),
  });
  const outcome = await outcomeOf(() => check.run(subject));
  const finished = await outcomeOf(() => subject.finish());
  const disposed = await outcomeOf(async () => void (await disposeStore?.(store)));
  // Throws the first error, because it can be the cause of the others.
  for (const each of [outcome, finished, disposed]) if (!each.ok) throw each.error;
}

/** Reports an assertion to AVA, which fails a test without assertions and does not count those of node:assert. */
function countAssertion(context: unknown): void {
  if (typeof context !== 'object' || context === null) return;
  if ('pass' in context && typeof context.pass === 'function') context.pass();
}
