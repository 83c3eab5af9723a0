import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';

export const KIB = 1024;
export const MIB = 1024 * KIB;
export const GIB = 1024 * MIB;

/** Creates a directory that is removed after the test. It is not in os.tmpdir(), because tmpfs pages cannot be evicted. */
export async function temporaryDirectory(t: Pick<ExecutionContext, 'teardown'>): Promise<string> {
  const directory = await realpath(await mkdtemp('/var/tmp/hotblob-test-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** Returns bytes in which every aligned group of eight encodes its position and the seed of the artifact. */
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

/** Writes a file with the bytes of {@link pattern} and returns them. Afterwards the file is in the page cache. */
export function writePattern(directory: string, name: string, length: number, seed: number): Buffer {
  const bytes = pattern(length, seed);
  writeFileSync(join(directory, name), bytes);
  return bytes;
}

/** Writes `bytes` at a position of an existing file. A gap after the previous end of the file becomes a hole. */
export function writeAt(path: string, bytes: Uint8Array, position: number): void {
  const fd = openSync(path, 'r+');
  writeSync(fd, bytes, 0, bytes.byteLength, position);
  closeSync(fd);
}
