import { readFile, rename, rm, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoCode } from '../../contract/errors.js';
import { corruptError } from './errors.js';
import { INDEX_NAME, type Layout, segmentFilesOf, UNSYNCED_NAME } from './layout.js';
import { syncDirectory } from './segment.js';

/**
 * Empties the store if the system crashed while acknowledged bodies were not on the disk, because some may be
 * incomplete.
 */
export async function discardUnsynced(layout: Layout): Promise<void> {
  if (await isSynced(layout)) return;
  // The index is removed first, because an index entry must never name a segment that does not exist.
  for (const name of [INDEX_NAME, `${INDEX_NAME}-lock`]) await rm(join(layout.root, name), { force: true });
  await syncDirectory(layout.root);
  for (const name of await segmentFilesOf(layout.segments)) await unlink(join(layout.segments, name));
  await unmarkUnsynced(layout);
}

/**
 * Checks that a store may be opened for reading only.
 *
 * @throws HotblobError `ERR_HOTBLOB_CORRUPT` if the store has to be emptied first, see {@link discardUnsynced}
 */
export async function assertSynced(layout: Layout): Promise<void> {
  if (await isSynced(layout)) return;
  const remedy = 'open the store once for writing, which empties it';
  throw corruptError(layout.root, `the system crashed before all uploads were on the disk; ${remedy}`);
}

/** Returns whether the system has not crashed since a body was acknowledged that may not be on the disk. */
async function isSynced(layout: Layout): Promise<boolean> {
  const marker = await readMarker(layout);
  return marker === undefined || (marker !== '' && marker === (await readBootId()));
}

/** Records that uploads are acknowledged before they are on the disk. */
export async function markUnsynced(layout: Layout): Promise<void> {
  const bootId = await readBootId();
  if ((await readMarker(layout)) === bootId) return;
  // The marker is written to a temporary file and renamed. Otherwise, a process that is killed while it writes would
  // leave an empty marker, which would count as the marker of another boot.
  const path = join(layout.root, UNSYNCED_NAME);
  await writeFile(`${path}.new`, bootId, { flush: true, mode: layout.permissions.file });
  await rename(`${path}.new`, path);
  await syncDirectory(layout.root);
}

/** Records that all acknowledged uploads are on the disk. */
export async function unmarkUnsynced(layout: Layout): Promise<void> {
  await rm(join(layout.root, UNSYNCED_NAME), { force: true });
  await syncDirectory(layout.root);
}

function readMarker(layout: Layout): Promise<string | undefined> {
  return readFile(join(layout.root, UNSYNCED_NAME), 'latin1').catch((error: unknown) => {
    if (errnoCode(error) === 'ENOENT') return undefined;
    throw error;
  });
}

/**
 * Reads an id that changes with every boot (proc_sys_kernel(5)). Resolves to the empty string on systems without such
 * an id.
 */
async function readBootId(): Promise<string> {
  return readFile('/proc/sys/kernel/random/boot_id', 'latin1').catch(() => '');
}
