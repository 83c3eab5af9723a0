import test from 'ava';
import { Purge } from '../../../src/stores/purges.js';
import type { IndexEntry } from '../../../src/stores/segments/index-entry.js';
import { purgeIndex } from '../../../src/stores/segments/purge.js';
import type { SegmentIndex } from '../../../src/stores/segments/segment-index.js';

const ENTRY: IndexEntry = { segment: 1, offset: 0, length: 100, time: 1000, digest: Buffer.from('a'.repeat(16)) };

/** Entries at the time of the commit, and whether the deletion is applied then. */
const CASES: readonly (readonly [string, IndexEntry, boolean])[] = [
  ['unchanged', ENTRY, true],
  ['moved by compaction', { ...ENTRY, segment: 2, offset: 500 }, true],
  ['uploaded again', { ...ENTRY, time: 1001 }, false],
  ['replaced by other bytes', { ...ENTRY, digest: Buffer.from('b'.repeat(16)) }, false],
];

for (const [what, current, isDeleted] of CASES) {
  test(`an artifact that is ${what} at the commit is ${isDeleted ? 'deleted' : 'kept'}`, async (t) => {
    t.deepEqual(await purgeOne(current, () => 1000), { artifacts: isDeleted ? 1 : 0, bytes: isDeleted ? 100 : 0 });
  });
}

test('an artifact that was used since the purge looked at it is kept', async (t) => {
  let looks = 0;
  t.deepEqual(await purgeOne(ENTRY, () => (looks++ === 0 ? 1000 : 5000)), { artifacts: 0, bytes: 0 });
  t.is(looks, 2);
});

/** Purges an index with one artifact, used before 2000, whose entry is `current` when the deletion is committed. */
async function purgeOne(current: IndexEntry, lastUse: () => number) {
  const purge = new Purge({ usedBefore: new Date(2000) }, {});
  await purgeIndex(purge, {
    index: { entries: () => [[{ key: 'nx/1', entry: ENTRY }]].values() } as unknown as SegmentIndex,
    lastUse,
    apply: async ({ condition }) => ({ existed: true, isApplied: condition?.(current) ?? true }),
    assertOpen: () => {},
  });
  return purge.end();
}
