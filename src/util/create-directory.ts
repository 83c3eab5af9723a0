import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Creates a directory and the missing directories above it. Returns the path of the first one that was created, or undefined if
 * the directory exists. The option `recursive` of Node's mkdir() never returns if the system reports ENOENT although the parent
 * exists, as for `/proc/x`.
 *
 * @throws the system error of mkdir(2), or ENOENT for a symbolic link without a target
 */
export async function createDirectory(path: string, mode: number): Promise<string | undefined> {
  try {
    return await createOne(path, mode);
  } catch (error) {
    const parent = dirname(path);
    if (!isCode('ENOENT', error) || parent === path) throw error;
    const first = await createDirectory(parent, mode);
    const created = await createOne(path, mode);
    return first ?? created;
  }
}

async function createOne(path: string, mode: number): Promise<string | undefined> {
  try {
    await mkdir(path, { mode });
    return path;
  } catch (error) {
    // Fails for a symbolic link without a target. Other codes than EEXIST are possible for a directory that exists, for example
    // on a read-only file system.
    const stats = await stat(path).catch((failure: unknown) => {
      throw isCode('EEXIST', error) ? failure : error;
    });
    if (!stats.isDirectory()) throw error;
    return undefined;
  }
}

function isCode(code: string, error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
