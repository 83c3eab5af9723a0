import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { OPEN_FLAGS } from '../util/open-flags.js';

/**
 * Opens a file with O_NOATIME, so that inspection does not update its access time, which determines the eviction order
 * of stores. If O_NOATIME is not possible (not on Linux, or a file of another user), opens the file without it.
 *
 * @throws the error of the system call
 */
export async function openNoatime(path: string): Promise<FileHandle> {
  const { O_NOATIME } = constants;
  if (O_NOATIME === undefined) return open(path, OPEN_FLAGS);
  try {
    return await open(path, OPEN_FLAGS | O_NOATIME);
  } catch {
    // EPERM if the process does not own the file (open(2)). Any other error occurs again.
    return open(path, OPEN_FLAGS);
  }
}
