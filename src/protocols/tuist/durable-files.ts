import { open, writeFile } from 'node:fs/promises';
import type { Readable } from 'node:stream';

/** Writes a new file, and to the disk. Resolves to its length in bytes. */
export async function writeDurably(path: string, content: string | Readable): Promise<number> {
  const handle = await open(path, 'wx');
  try {
    await writeFile(handle, content);
    // Before any rename: after a crash there must not be a name without the bytes.
    await handle.sync();
    return (await handle.stat()).size;
  } finally {
    await handle.close();
  }
}

/** Makes what has been renamed in a directory survive a crash of the system. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  await handle.sync().finally(() => handle.close());
}
