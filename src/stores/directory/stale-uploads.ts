import { readdir, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';

/** Minimum age of a temporary file that is removed. A younger file may belong to an upload of another process. */
const STALE_AFTER_MS = 24 * 60 * 60 * 1000;

/** Removes temporary files that killed processes left behind. */
export async function removeStaleUploads(uploads: string): Promise<void> {
  try {
    for (const name of await readdir(uploads)) {
      const path = join(uploads, name);
      if ((await stat(path)).mtimeMs < Date.now() - STALE_AFTER_MS) await unlink(path);
    }
  } catch {
    // There were no uploads yet, or another process removes the files at the same time.
  }
}
