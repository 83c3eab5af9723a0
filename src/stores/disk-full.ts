import { errnoCode } from '../contract/errors.js';
import { releaseDeletedFiles } from '../page-cache/release-file.js';

/** Whether the file system or the disk quota is full. */
export function isDiskFull(error: unknown): boolean {
  const code = errnoCode(error);
  return code === 'ENOSPC' || code === 'EDQUOT';
}

/**
 * Writes to the disk. If the disk is full, closes deleted files that are still open, whose space is not free, and tries once
 * more.
 */
export async function retryIfFull<T>(write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    if (!isDiskFull(error)) throw error;
    await releaseDeletedFiles();
    return write();
  }
}
