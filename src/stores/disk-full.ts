import type { FileHandle } from 'node:fs/promises';
import { errnoCode } from '../contract/errors.js';
import { releaseDeletedFiles } from '../page-cache/release-file.js';

/** Whether the file system or the disk quota is full. */
export function isDiskFull(error: unknown): boolean {
  const code = errnoCode(error);
  return code === 'ENOSPC' || code === 'EDQUOT';
}

/** Writes `bytes` at `position` of a file, with the second attempt of {@link retryIfFull}. */
export async function writeAll(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let written = 0; written < bytes.byteLength; ) {
    const start = written;
    const write = () => file.write(bytes, start, bytes.byteLength - start, position + start);
    written += (await retryIfFull(write)).bytesWritten;
  }
}

/**
 * Writes to the disk. If the disk is full, closes deleted files that are still open, whose space is not free, and tries once
 * more.
 */
export async function retryIfFull<T>(write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    if (!isDiskFull(error)) throw error;
    await releaseDeletedFiles();
    return write();
  }
}
