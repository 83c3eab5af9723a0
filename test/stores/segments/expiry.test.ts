import test from 'ava';
import { Expiry, type ExpiryContext } from '../../../src/stores/segments/expiry.js';
import type { IndexEntry } from '../../../src/stores/segments/index-entry.js';
import { fakeTime } from '../../helpers/fake-time.js';
import { until } from '../../helpers/poll.js';

const HOUR_MS = 60 * 60 * 1000;
/** More than are deleted together. */
const ARTIFACTS = 70;

test.serial('refused deletions end the pass without an unhandled rejection; the next pass repeats them', async (t) => {
  const time = fakeTime(t);
  const unhandled: unknown[] = [];
  const onUnhandled = (reason: unknown) => unhandled.push(reason);
  process.on('unhandledRejection', onUnhandled);
  t.teardown(() => process.off('unhandledRejection', onUnhandled));
  const left = new Set(Array.from({ length: ARTIFACTS }, (_, index) => index));
  const entryOf = (offset: number): IndexEntry => ({
    segment: 1,
    offset,
    length: 1,
    time: 0,
    digest: Buffer.alloc(16),
  });
  const limits = { maxAgeMs: HOUR_MS };
  const segment = { id: 1, isSealed: true, pendingRegions: 0, isMixed: false, nextExpiry: 0, group: { limits } };
  let refused = 0;
  let isFull = true;
  const context = {
    index: {
      keysOf: () => [[...left].map((offset) => ({ key: `${offset}`, location: entryOf(offset) }))].values(),
      get: (key: string) => entryOf(Number(key)),
    },
    segments: { all: [segment] },
    groups: { rules: { minAgeMs: HOUR_MS }, all: [{ limits }], of: () => ({ limits }) },
    lastUses: {
      of: () => {
        void time.advance(5); // the pass pauses after each artifact
        return 0;
      },
    },
    apply: async ({ key }: { key: string }) => {
      if (isFull && ++refused > 0) throw new Error('no space left on the file system for the index');
      return { existed: true, isApplied: left.delete(Number(key)) };
    },
  };
  const expiry = new Expiry(HOUR_MS, context as unknown as ExpiryContext);
  t.teardown(() => expiry.stop());
  await until('the deletions were refused', () => refused > 0 && segment.nextExpiry === 0);
  isFull = false;
  await until(
    'all artifacts have expired',
    async () => {
      await time.advance(HOUR_MS / 16);
      return expiry.count === ARTIFACTS;
    },
    10_000,
  );
  t.deepEqual(unhandled, []);
});
