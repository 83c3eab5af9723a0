import { mkdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createDirectory } from '../../util/create-directory.js';
import type { Permissions } from '../../util/permissions.js';
import { FORMAT_LINE } from '../format.js';
import { RESERVED_NAME } from './paths.js';

const MARKER_NAME = 'immutable';
const MARKER_TEXT =
  'hotblob created this directory and maps its files into memory. ' +
  'Replace files by rename or unlink them; never write to them in place.\n' +
  FORMAT_LINE;

/** Creates the directory if it does not exist. Resolves to whether a directory store created it, now or earlier. */
export async function createIfMissing(dir: string, permissions: Permissions): Promise<boolean> {
  const mode = permissions.directory;
  const created = await createDirectory(dir, mode);
  if (created === undefined) return isCreatedByStore(dir);
  await mkdir(join(dir, RESERVED_NAME), { mode });
  await writeFile(markerOf(dir), MARKER_TEXT, { mode: permissions.file });
  return true;
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
