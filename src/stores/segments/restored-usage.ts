import { Heap } from '../../util/heap.js';
import { pause } from '../../util/loop-slices.js';
import type { SegmentIndex } from './segment-index.js';
import type { SegmentSet } from './segment-set.js';

/** Number of artifacts whose last uses are restored, those used last. */
const MAX_RESTORED = 32_768;

/**
 * Restores the usage of segments from the last uses in the index, after a restart: as if each artifact had been read once, in the order of
 * their last uses. Never rejects.
 *
 * @param isCancelled checked for each artifact
 */
export async function restoreUsage(
  index: SegmentIndex,
  segments: SegmentSet,
  isCancelled: () => boolean,
): Promise<void> {
  try {
    const earliestFirst = new Heap<{ readonly key: string; readonly minute: number }>((a, b) => a.minute < b.minute);
    for (const batch of index.uses.entries()) {
      for (const use of batch) {
        if (isCancelled()) return;
        earliestFirst.push(use);
        if (earliestFirst.size > MAX_RESTORED) earliestFirst.pop();
        await pause();
      }
    }
    for (let use = earliestFirst.pop(); use !== undefined && !isCancelled(); use = earliestFirst.pop()) {
      const entry = index.get(use.key);
      const group = entry && segments.get(entry.segment)?.group;
      if (entry !== undefined) group?.usage.recordRead(use.key, entry.segment, entry.length);
      await pause();
    }
  } catch {
    // A corrupt entry. Without the usage, the oldest segment is evicted first.
  }
}
