import { readdir, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { INLINE_BASE } from './entry.js';
import type { Layout } from './layout.js';
import { Segment, syncDirectory } from './segment.js';
import type { SegmentIndex } from './segment-index.js';
import { SegmentSet, segmentIdOf, segmentPath } from './segment-set.js';

/**
 * The segments as the last process has left them, however it ended. Nothing is read but the list of files and, for each
 * segment, its row and its last place, so that it takes no longer with more artifacts.
 *
 * What the index does not know has never been acknowledged: a segment without a row is removed, and bytes behind the last
 * place stay where they are, unused.
 */
export async function recover(layout: Layout, index: SegmentIndex, segmentBytes: number): Promise<SegmentSet> {
  const rows = index.segments();
  const sizes = new Map<number, number>();
  for (const name of await readdir(layout.segments)) {
    const id = segmentIdOf(name);
    if (id === undefined) continue; // not ours
    const path = join(layout.segments, name);
    if (rows.has(id)) sizes.set(id, (await stat(path)).size);
    else await unlink(path);
  }
  // A process that was killed may have made a file whose name is not on the disk yet.
  await syncDirectory(layout.segments);

  const segments = new SegmentSet(layout.segments, segmentBytes, index.nextSegment());
  for (const [id, counts] of [...rows].sort(([a], [b]) => a - b)) {
    const { end, inline } = index.lastOffsets(id);
    const size = sizes.get(id) ?? 0;
    const segment = new Segment(id, segmentPath(layout.segments, id), size, counts, Math.max(0, inline - INLINE_BASE));
    // A file that ends before its last body is damaged. Appending would put other bytes where bodies were.
    segment.isSealed = end > size || size >= segmentBytes;
    segments.add(segment);
  }
  return segments;
}
