import { mock } from 'node:test';
import test from 'ava';
import { DirectoryEviction } from '../../../src/stores/directory/eviction.js';
import { LastUses } from '../../../src/stores/directory/last-uses.js';
import { Sidecars } from '../../../src/stores/directory/metadata.js';
import { assertDirectoryOptions } from '../../../src/stores/directory/options.js';
import { Renewal } from '../../../src/stores/directory/renewal.js';
import { permissionsFor } from '../../../src/util/permissions.js';
import { refusal, temporaryDirectory } from '../fixture.js';

const MAX_BYTES = 1_000_000;

test.serial('uploads that wait for space share a scan, and are refused one after the other', async (t) => {
  const root = await temporaryDirectory(t);
  const permissions = permissionsFor(undefined);
  const eviction = new DirectoryEviction({
    root,
    maxBytes: MAX_BYTES,
    rules: assertDirectoryOptions({}),
    sidecars: new Sidecars(root, true, permissions),
    lastUses: new LastUses(root, permissions),
    isUncounted: () => false,
  });
  t.teardown(() => eviction.close());
  await eviction.awaitUsage(undefined);
  const stalled = eviction.createReservation('key', undefined);
  await stalled.grow(MAX_BYTES - 50_000);
  const scans = mock.method(Renewal.prototype, 'run').mock;
  t.teardown(() => mock.restoreAll());
  let inProgress = 0;
  const upload = async (): Promise<void> => {
    const reservation = eviction.createReservation('key', undefined);
    await t.throwsAsync(reservation.grow(100_000), refusal('ERR_HOTBLOB_STORAGE_FULL'));
    t.is(++inProgress, 1, 'the next upload is refused when the previous one has given its space back');
    await new Promise((resolve) => setImmediate(resolve));
    inProgress--;
    reservation.release();
  };
  await Promise.all(Array.from({ length: 50 }, upload));
  t.true(scans.callCount() <= 2, `${scans.callCount()} scans`);
  // The space of an upload that is refused goes to the next one.
  stalled.release();
  const next = eviction.createReservation('key', undefined);
  await next.grow(100_000);
  next.release();
});
