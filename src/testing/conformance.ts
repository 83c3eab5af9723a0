import type { Store } from '../contract/store.js';
import type { Check } from './check.js';
import { closing } from './checks/closing.js';
import { concurrency } from './checks/concurrency.js';
import { deleting } from './checks/deleting.js';
import { failedUploads } from './checks/failed-uploads.js';
import { inFlight } from './checks/in-flight.js';
import { keys } from './checks/keys.js';
import { listing } from './checks/listing.js';
import { lookups } from './checks/lookups.js';
import { metadata } from './checks/metadata.js';
import { reading } from './checks/reading.js';
import { uploads } from './checks/uploads.js';
import { inTurn } from './gate.js';
import { type Settings, type StoreConformanceOptions, settingsOf } from './options.js';
import { outcomeOf, within } from './steps.js';
import { Subject } from './subject.js';

const CHECKS: readonly Check[] = [
  ...lookups,
  ...reading,
  ...uploads,
  ...failedUploads,
  ...metadata,
  ...concurrency,
  ...inFlight,
  ...deleting,
  ...listing,
  ...keys,
  ...closing,
];

/**
 * Registers tests that hold a store to the contract of {@link Store}: each makes a store of its own, and rejects with an
 * AssertionError, or with what the store has thrown, where a promise is broken. Works with every runner whose
 * `test(title, body)` awaits the body: AVA, node:test, Vitest, Jest.
 *
 * ```ts
 * import test from 'ava';
 * import { storeConformance } from 'hotblob/testing';
 *
 * storeConformance({ test, createStore: () => myStore() });
 * ```
 *
 * At most four checks run at the same time, whatever the runner does. Artifacts are read as the handler reads them. The bytes put are a few MiB for each store, and three times
 * `evictsAbove` where that is said.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an option that is unknown, missing or wrong
 */
export function storeConformance<S extends Store>(options: StoreConformanceOptions<S>): void {
  const settings = settingsOf(options);
  for (const check of CHECKS) {
    if (!(check.applies?.(settings.capabilities) ?? true)) continue;
    // A rest parameter, so that the body's length is 0: Jest would take a named one for its callback.
    settings.test(`${settings.name}: ${check.title}`, async (...context) => {
      await inTurn(() => run(check, settings));
      countAssertion(context[0]);
    });
  }
}

async function run<S extends Store>(check: Check, settings: Settings<S>): Promise<void> {
  const { createStore, capabilities, largeBytes, timeoutMs, seed, inventory, disposeStore } = settings;
  const store = await within(timeoutMs, 'createStore()', createStore());
  const subject = new Subject({
    store,
    capabilities,
    largeBytes,
    timeoutMs,
    seed: (key, bytes) => seed?.(store, key, bytes),
    inventory: () => inventory?.(store),
  });
  const outcome = await outcomeOf(() => check.run(subject));
  const ended = await outcomeOf(() => subject.end());
  const disposed = await outcomeOf(async () => void (await disposeStore?.(store)));
  // What went wrong first is the cause of the rest.
  for (const each of [outcome, ended, disposed]) if (!each.ok) throw each.error;
}

/** AVA fails a test that has made none of its own assertions, and knows nothing of node:assert. */
function countAssertion(context: unknown): void {
  if (typeof context !== 'object' || context === null) return;
  if ('pass' in context && typeof context.pass === 'function') context.pass();
}
