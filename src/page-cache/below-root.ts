import { type BigIntStats, readlinkSync, realpath, stat } from 'node:fs';
import { promisify } from 'node:util';
import { prefixOf } from '../util/prefix-of.js';

const statAsync = promisify(stat);
const realpathAsync = promisify(realpath);

/**
 * Resolves to whether an open file is below `root`, with symbolic links in both paths resolved.
 *
 * @param opened stats of the descriptor
 * @throws the error of the system call if a path cannot be resolved
 */
export async function isBelow(root: string, path: string, fd: number, opened: BigIntStats): Promise<boolean> {
  if (process.platform === 'linux') {
    let resolved: string | undefined;
    try {
      // The kernel returns the path of this descriptor without a disk access, and later changes of a symbolic link have
      // no effect.
      resolved = readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      // /proc is not mounted in this container
    }
    if (resolved !== undefined) return isInside(root, resolved);
  }
  const resolved = await realpathAsync(path);
  if (!(await isInside(root, resolved))) return false;
  const now = await statAsync(resolved, { bigint: true });
  return now.ino === opened.ino && now.dev === opened.dev;
}

/** Resolves to whether `resolved`, a path without symbolic links, is below `root`. */
async function isInside(root: string, resolved: string): Promise<boolean> {
  // Only a root with a symbolic link needs I/O. It is resolved each time, because the link may have changed.
  return resolved.startsWith(prefixOf(root)) || resolved.startsWith(prefixOf(await realpathAsync(root)));
}
