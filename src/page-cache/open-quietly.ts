import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

// A FIFO must not wait for its writer, nor a terminal become ours.
const FLAGS = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | (constants.O_NOCTTY ?? 0);

/**
 * Opens a file to look at it: what is read or mapped of it then does not count as an access, which stores take for a use.
 * Where that may not be asked for (the file is somebody else's, or no system but Linux) it does count.
 *
 * @throws the system's error
 */
export async function openQuietly(path: string): Promise<FileHandle> {
  const { O_NOATIME } = constants;
  if (O_NOATIME === undefined) return open(path, FLAGS);
  try {
    return await open(path, FLAGS | O_NOATIME);
  } catch {
    // EPERM to who does not own it; what else is wrong with it shows once more.
    return open(path, FLAGS);
  }
}
