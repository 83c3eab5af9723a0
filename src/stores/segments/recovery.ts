import { readdir, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { CommitSpace } from './commit-space.js';
import { INLINE_BASE } from './index-entry.js';
import type { Layout } from './layout.js';
import { Segment, syncDirectory } from './segment.js';
import type { SegmentGroups } from './segment-groups.js';
import type { SegmentIndex } from './segment-index.js';
import { SegmentSet, segmentIdOf, segmentPath } from './segment-set.js';

/**
 * Returns the existing segments, even if the last process was killed. Reads the list of files and, for each segment,
 * its row and its last location. The duration therefore does not depend on the number of artifacts.
 *
 * Bodies that are not in the index were never acknowledged. The file of a segment without a row is removed. Bytes after
 * the last location remain in the file, but are not used.
 *
 * A segment that was written with other rules may have artifacts of several groups. It belongs to the rest, and gets no
 * further bodies.
 */
export async function recoverSegments(
  layout: Layout,
  index: SegmentIndex,
  groups: SegmentGroups,
  space: CommitSpace,
): Promise<SegmentSet> {
  const rows = index.segments();
  const sizes = new Map<number, number>();
  for (const name of await readdir(layout.segments)) {
    const id = segmentIdOf(name);
    if (id === undefined) continue; // not a segment file
    const path = join(layout.segments, name);
    if (rows.has(id)) sizes.set(id, (await stat(path)).size);
    else await unlink(path);
  }
  // If a process was killed after it created a file and before it synced the directory, the name of the file is not on
  // the disk yet.
  await syncDirectory(layout.segments);

  const mode = layout.permissions.file;
  const segments = new SegmentSet(layout.segments, mode, index.nextSegment(), space);
  const stored = index.groups();
  for (const [id, counts] of [...rows].sort(([a], [b]) => a - b)) {
    const { end, inline } = index.lastOffsets(id);
    const size = sizes.get(id) ?? 0;
    const group = groups.stored(stored.get(id));
    const segment = new Segment(
      id,
      segmentPath(layout.segments, id),
      group ?? groups.rest,
      mode,
      size,
      counts,
      Math.max(0, inline - INLINE_BASE),
    );
    // A file that ends before its last body was truncated. It is sealed, because appended bodies would get the
    // locations of lost bodies.
    segment.isSealed = end > size || size >= segment.group.segmentBytes || group === undefined;
    segment.isMixed = group === undefined;
    segment.isGroupStored = stored.has(id);
    segments.add(segment);
  }
  return segments;
}
