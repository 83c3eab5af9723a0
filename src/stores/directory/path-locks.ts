import { KeyLocks } from '../../util/key-locks.js';

/**
 * Locks of the paths of artifacts. An upload takes the lock to rename its file to a path where there may be another one, a deletion
 * to unlink the file that it has looked at. They hold within this process: uploads of other processes to the same directory are not
 * excluded.
 */
export const pathLocks = new KeyLocks();
