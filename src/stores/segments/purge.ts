import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Purge } from '../purges.js';
import { MAX_DELETIONS, settleAll } from './deletions.js';
import type { IndexEntry } from './index-entry.js';
import type { DeleteOperation, Outcome } from './operations.js';
import type { SegmentIndex } from './segment-index.js';

/** Time after which the purge yields to the event loop while it compares entries, in milliseconds. */
const SLICE_MS = 2;

/** Parts of a writer that a purge needs. */
export interface PurgeContext {
  readonly index: SegmentIndex;
  /** Returns the time of the last use, in milliseconds since 1970. */
  lastUse(key: string, entry: IndexEntry): number;
  apply(operation: DeleteOperation): Promise<Outcome>;
  /** @throws HotblobError `ERR_HOTBLOB_CLOSED` */
  assertOpen(): void;
}

/**
 * Deletes the artifacts of a segment store that match. An artifact is compared once more at the commit of its deletion. One that
 * compaction has moved in the meantime is deleted too.
 */
export async function purgeIndex(purge: Purge, { index, lastUse, apply, assertOpen }: PurgeContext): Promise<void> {
  const matches = (key: string, entry: IndexEntry): boolean => purge.matches({ key, usedAt: lastUse(key, entry) });
  const remove = async (key: string, entry: IndexEntry): Promise<void> => {
    const condition = (current: IndexEntry): boolean => isSameUpload(current, entry) && matches(key, current);
    const { isApplied } = await apply({ kind: 'delete', key, condition });
    if (isApplied) purge.count(entry.length);
  };
  for (const batch of index.entries(SLICE_MS)) {
    assertOpen();
    purge.examine(batch.length);
    const matching = batch.flatMap(({ key, entry }) =>
      entry !== undefined && matches(key, entry) ? [{ key, entry }] : [],
    );
    for (let start = 0; start < matching.length; start += MAX_DELETIONS) {
      assertOpen();
      purge.examine(0);
      const deletions = matching.slice(start, start + MAX_DELETIONS).map(({ key, entry }) => remove(key, entry));
      await settleAll(deletions);
    }
    await nextTurn();
  }
}

/** Whether two entries are those of one upload. Compaction changes only the location. */
function isSameUpload(a: IndexEntry, b: IndexEntry): boolean {
  return a.time === b.time && a.length === b.length && Buffer.compare(a.digest, b.digest) === 0;
}
