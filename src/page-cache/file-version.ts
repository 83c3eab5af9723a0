import type { BigIntStats } from 'node:fs';

/** Entity tags of a version of a file. */
export interface EntityTags {
  /** For a file that may be rewritten in place. */
  readonly mutable: string;
  /** For a file that is only appended to, replaced by rename, or unlinked. */
  readonly immutable: string;
}

/**
 * Returns the entity tags of a file. A program can set the modification time of a file, and a file system may reuse the
 * inode of a deleted file, so that inode, size and modification time can be those of other contents. The tags therefore
 * contain a time that no program can set: that of the last change, or for immutable files that of the creation, which
 * stays the same if the mode or the links of the file change.
 */
export function entityTagsOf(stats: BigIntStats): EntityTags {
  const { ino, size, mtimeNs, ctimeNs } = stats;
  const tagWith = (time: bigint): string =>
    `"${[ino, size, mtimeNs, time].map((part) => part.toString(36)).join('-')}"`;
  return { mutable: tagWith(ctimeNs), immutable: tagWith(creationTimeOf(stats)) };
}

// Other systems lower the creation time if a program sets an earlier modification time. On Linux it is 0 if the file
// system has none, and the time of the last change if statx(2) is not available.
function creationTimeOf({ birthtimeNs, ctimeNs }: BigIntStats): bigint {
  return process.platform === 'linux' && birthtimeNs > 0n ? birthtimeNs : ctimeNs;
}

/** Whether a file that may be rewritten in place has the same contents and links in two stats. */
export function isSameVersion(a: BigIntStats, b: BigIntStats): boolean {
  return a.size === b.size && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs && a.nlink === b.nlink;
}

/**
 * Whether a file may have been rewritten in place between two stats of its descriptor. A new link, a deletion and a
 * replacement by rename also change the ctime, but they change the number of links as well. If the file itself is renamed
 * (`mv`), only its ctime changes: this cannot be told apart from a rewrite that keeps size and modification time.
 */
export function isRewritten(before: BigIntStats, after: BigIntStats): boolean {
  if (after.size !== before.size || after.mtimeNs !== before.mtimeNs) return true;
  return after.ctimeNs !== before.ctimeNs && after.nlink === before.nlink;
}
