import type { OpenFile } from './open-file.js';

/** Number of files among which the least recently used ones are found. */
const CANDIDATES = 64;

/**
 * Returns the first files of a map, the least recently used one first, and moves them to its end in this order. With up to
 * 64 files, these are all of them. With more, the order of use is approximate, so that the time does not depend on their
 * number.
 */
export function oldestFiles(files: Map<string, OpenFile>): OpenFile[] {
  const oldest: OpenFile[] = [];
  for (const file of files.values()) {
    oldest.push(file);
    if (oldest.length === CANDIDATES) break;
  }
  oldest.sort((a, b) => a.usedAt - b.usedAt);
  for (const file of oldest) {
    files.delete(file.path);
    files.set(file.path, file);
  }
  return oldest;
}
