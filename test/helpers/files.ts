import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';

export const KIB = 1024;
export const MIB = 1024 * KIB;
export const GIB = 1024 * MIB;

/** A directory of its own for a test. Not in tmpdir(), which may be a tmpfs: that has no page cache to speak of. */
export async function temporaryDirectory(t: Pick<ExecutionContext, 'teardown'>): Promise<string> {
  const directory = await realpath(await mkdtemp('/var/tmp/hotblob-test-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** Bytes of which every aligned eight tell where they stand, and in which artifact. */
export function pattern(length: number, seed: number, position = 0): Buffer {
  const first = Math.floor(position / 8);
  const words = new Uint32Array(2 * (Math.ceil((position + length) / 8) - first));
  for (let index = 0; index < words.length; index += 2) {
    words[index] = first + index / 2;
    words[index + 1] = 0xa5000000 + seed;
  }
  const skipped = position - first * 8;
  return Buffer.from(words.buffer, skipped, length);
}

/** Writes an artifact of {@link pattern} and returns its bytes. It is in the page cache then. */
export function writePattern(directory: string, name: string, length: number, seed: number): Buffer {
  const bytes = pattern(length, seed);
  writeFileSync(join(directory, name), bytes);
  return bytes;
}

/** Writes `bytes` at a position of a file that exists, and makes a hole before them where it ends earlier. */
export function writeAt(path: string, bytes: Uint8Array, position: number): void {
  const fd = openSync(path, 'r+');
  writeSync(fd, bytes, 0, bytes.byteLength, position);
  closeSync(fd);
}
