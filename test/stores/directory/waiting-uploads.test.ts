import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { mock } from 'node:test';
import test, { type ExecutionContext } from 'ava';
import { DirectoryEviction } from '../../../src/stores/directory/eviction.js';
import { LastUses } from '../../../src/stores/directory/last-uses.js';
import { Sidecars } from '../../../src/stores/directory/metadata.js';
import { assertDirectoryOptions, type DirectoryStoreOptions } from '../../../src/stores/directory/options.js';
import { Renewal } from '../../../src/stores/directory/renewal.js';
import type { Reservation } from '../../../src/stores/directory/reservation.js';
import { permissionsFor } from '../../../src/util/permissions.js';
import { refusal, temporaryDirectory } from '../fixture.js';

const MAX_BYTES = 1_000_000;

async function openEviction(
  t: ExecutionContext,
  root: string,
  options: DirectoryStoreOptions = {},
): Promise<DirectoryEviction> {
  const permissions = permissionsFor(undefined);
  const eviction = new DirectoryEviction({
    root,
    maxBytes: MAX_BYTES,
    rules: assertDirectoryOptions(options),
    sidecars: new Sidecars(root, true, permissions),
    lastUses: new LastUses(root, permissions),
    isUncounted: () => false,
  });
  t.teardown(() => eviction.close());
  await eviction.awaitUsage(undefined);
  return eviction;
}

test.serial('uploads that wait for space share a scan, and are refused one after the other', async (t) => {
  const eviction = await openEviction(t, await temporaryDirectory(t));
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

test.serial('an upload waits only for uploads whose artifacts may be evicted for it', async (t) => {
  const retain = [
    { scope: 'pr', maxBytes: 300_000 },
    { scope: 'main', maxBytes: 300_000 },
  ];
  const eviction = await openEviction(t, await temporaryDirectory(t), { maxBytes: MAX_BYTES, retain });
  const [pr, main] = ['.scopes/pr/nx/key', '.scopes/main/nx/key'];
  const reserve = async (key: string, bytes: number): Promise<Reservation> => {
    const reservation = eviction.createReservation(key, undefined);
    await reservation.grow(bytes).catch((error: unknown) => {
      reservation.release();
      throw error;
    });
    return reservation;
  };
  const stalled = await reserve(pr, 250_000);
  const received = [await reserve('key', 100_000), await reserve(main, 100_000)];
  for (const reservation of received) reservation.complete();
  // The rule is full. The received uploads are of other groups.
  await t.throwsAsync(reserve(pr, 100_000), refusal('ERR_HOTBLOB_STORAGE_FULL', /maxBytes of a rule of retain/));
  stalled.release();
  // The store is full. Artifacts of a rule within its limit stay.
  received[0]?.release();
  const rest = await reserve('key', 900_000 - 4 * 5120);
  await t.throwsAsync(reserve(pr, 100_000), refusal('ERR_HOTBLOB_STORAGE_FULL'));
  rest.release();
  for (const reservation of received) reservation.release();
});

test.serial('an upload that waits for others scans the directory once', async (t) => {
  const root = await temporaryDirectory(t);
  const eviction = await openEviction(t, root);
  const scans = mock.method(Renewal.prototype, 'run').mock;
  t.teardown(() => mock.restoreAll());
  const stalled = eviction.createReservation('stalled', undefined);
  await stalled.grow(MAX_BYTES - 100_000);
  const received = ['a', 'b', 'c'].map((key) => ({ key, upload: eviction.createReservation(key, undefined) }));
  for (const { upload } of received) {
    await upload.grow(20_000);
    upload.complete();
  }
  const waiting = eviction.createReservation('waiting', undefined);
  const grown = waiting.grow(80_000);
  for (const { key, upload } of received) {
    await new Promise((resolve) => setImmediate(resolve));
    await eviction.add(key, upload, 20_000, undefined, async () => {
      await writeFile(join(root, key), Buffer.alloc(16_384));
      return { addedBytes: 16_384, isNew: true };
    });
  }
  await grown;
  t.is(scans.callCount(), 1);
  waiting.release();
  stalled.release();
});
