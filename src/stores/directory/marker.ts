import { randomUUID } from 'node:crypto';
import { lstat, mkdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { createDirectory } from '../../util/create-directory.js';
import type { Permissions } from '../../util/permissions.js';
import { FORMAT_LINE } from '../format.js';
import { RESERVED_NAME } from './paths.js';

const MARKER_NAME = 'immutable';
const MARKER_TEXT =
  'hotblob created this directory and maps its files into memory. ' +
  'Replace files by rename or unlink them; never write to them in place.\n' +
  FORMAT_LINE;

/**
 * Creates the directory if it does not exist. Resolves to whether a directory store created it, now or earlier.
 *
 * The directory is renamed to its name when it has the marker. Otherwise, another process that starts at the same time could find
 * it without the marker.
 */
export async function createIfMissing(dir: string, permissions: Permissions): Promise<boolean> {
  const mode = permissions.directory;
  const exists = await lstat(dir).then(
    () => true,
    () => false, // creating the directory reports other errors
  );
  if (!exists) {
    await createDirectory(dirname(dir), mode);
    // Not join(), which would resolve `..` without symbolic links.
    const temporary = `${dirname(dir)}/${basename(dir)}.${randomUUID()}`;
    try {
      await mkdir(temporary, { mode });
      await mkdir(join(temporary, RESERVED_NAME), { mode });
      await writeFile(markerOf(temporary), MARKER_TEXT, { mode: permissions.file });
      await rename(temporary, dir);
      return true;
    } catch {
      await rm(temporary, { recursive: true, force: true });
      // Another process has created it, or this process cannot: then this call reports the reason.
    }
  }
  await createDirectory(dir, mode);
  return isCreatedByStore(dir);
}

/** Resolves to whether a directory store created `dir`. Its files are then immutable. */
export function isCreatedByStore(dir: string): Promise<boolean> {
  return stat(markerOf(dir)).then(
    () => true,
    () => false,
  );
}

/** Returns the path of the file that exists if a directory store created `dir`. */
export function markerOf(dir: string): string {
  return join(dir, RESERVED_NAME, MARKER_NAME);
}
