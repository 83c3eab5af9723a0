/** Space of a file in addition to its blocks: its inode and its directory entry. Without it, empty files would count nothing. */
export const INODE_BYTES = 1024;
/** Space of a directory: one block and its own inode and entry. */
export const DIRECTORY_BYTES = 4096 + INODE_BYTES;
/** Space of the directories that every store has: its root, `.hotblob` and the directory for uploads. */
export const OWN_DIRECTORIES_BYTES = 3 * DIRECTORY_BYTES;
/** Most file systems allocate space in blocks of this size. */
const BLOCK_BYTES = 4096;

/**
 * Returns the bytes that a file takes on the disk. A file counts at least with its size: some file systems compress, or report
 * blocks late.
 */
export function diskBytesOf({
  size,
  blocks,
}: {
  readonly size: number | bigint;
  readonly blocks: number | bigint;
}): number {
  // POSIX: st_blocks counts units of 512 bytes, whatever the block size of the file system is.
  return Math.max(Number(size), Number(blocks) * 512) + INODE_BYTES;
}

/** Returns the bytes that a file of `size` bytes takes at most. */
export function maxDiskBytes(size: number): number {
  return Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES + INODE_BYTES;
}
