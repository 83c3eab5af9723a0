import { access, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoCode, HotblobError } from '../contract/errors.js';
import type { Store } from '../contract/store.js';
import { RESERVED_NAME, SHARED_LOCK_NAME } from '../stores/directory/paths.js';
import { directoryStore } from '../stores/directory/store.js';
import { holdsSegmentStore } from '../stores/segments/layout.js';
import { PURGE_ONLY, type SegmentStoreOptions, segmentStore } from '../stores/segments/store.js';
import { WriterLock } from '../stores/segments/writer-lock.js';
import { CommandError } from './command.js';

/** Opens the store in a directory for reading. A server may use it at the same time. */
export async function openForReading(dir: string): Promise<Store & Required<Pick<Store, 'list' | 'close'>>> {
  return (await holdsSegmentStore(dir))
    ? segmentStore(dir, { readOnly: true })
    : directoryStore(dir, { readOnly: true });
}

/**
 * Opens the store in a directory for purging.
 *
 * @throws CommandError if another process writes to it, or no store has ever written to the directory
 */
export async function openForPurging(dir: string): Promise<Store & Required<Pick<Store, 'purge' | 'close'>>> {
  try {
    await assertOwner(dir);
    if (await holdsSegmentStore(dir))
      return await segmentStore(dir, { [PURGE_ONLY]: true } as SegmentStoreOptions & { readOnly?: false });
    const own = join(await realpath(dir), RESERVED_NAME);
    await access(own).catch(() => {
      // The directory of a project, for example: all of its files would be artifacts.
      throw new CommandError(`${dir}: expected the directory of a store, found one without ${RESERVED_NAME}`);
    });
    await WriterLock.assertFree(own, SHARED_LOCK_NAME);
    return await directoryStore(dir);
  } catch (error) {
    if (!(error instanceof HotblobError) || errnoCode(error) !== 'ERR_HOTBLOB_LOCKED') throw error;
    const message = `${dir}: another process writes to this store; use the URL of the running server instead of the directory, such as http://127.0.0.1:8080`;
    throw new CommandError(message, { cause: error });
  }
}

/**
 * Files that another user creates in a store could not be read by its server.
 *
 * @throws CommandError if the directory belongs to another user
 */
async function assertOwner(dir: string): Promise<void> {
  const { uid } = await stat(dir);
  const user = process.geteuid?.();
  if (user === undefined || user === uid) return;
  throw new CommandError(
    `${dir}: expected the user who owns the directory (uid ${uid}), received uid ${user}; run the command as that user, such as with sudo -u`,
  );
}
