import { open, writeFile } from 'node:fs/promises';

/** Creates a file and flushes it to disk. Resolves to its size in bytes. Rejects if the file exists. */
export async function writeDurably(
  path: string,
  mode: number,
  content: string | AsyncIterable<Uint8Array>,
): Promise<number> {
  const handle = await open(path, 'wx', mode);
  try {
    await writeFile(handle, content);
    // Callers rename the file afterwards. Without the sync, a crash could leave the new name with missing bytes.
    await handle.sync();
    return (await handle.stat()).size;
  } finally {
    await handle.close();
  }
}

/** Flushes a directory to disk, so that renames in it survive a system crash. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  await handle.sync().finally(() => handle.close());
}
