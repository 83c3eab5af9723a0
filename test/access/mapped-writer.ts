import { closeSync, openSync } from 'node:fs';
import koffi from 'koffi';

const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
const MAP_FAILED = 2n ** 64n - 1n;

const lib = koffi.load(null);
const mmap = lib.func('void *mmap(void *addr, size_t length, int prot, int flags, int fd, int64_t offset)');

/**
 * Maps a file for writing in place. The kernel updates the timestamps when a page becomes dirty, and not again until the
 * page has been written back. Later changes leave the inode unchanged, as on a file system with a coarse clock. The mapping
 * stays until the process ends.
 */
export function mapForWriting(path: string, length: number): Uint8Array {
  const fd = openSync(path, 'r+');
  try {
    const address: bigint = mmap(null, length, PROT_READ_WRITE, MAP_SHARED, fd, 0);
    if (BigInt.asUintN(64, address) === MAP_FAILED) throw new Error(`mmap: errno ${koffi.errno()}`);
    return new Uint8Array(koffi.view(address, length));
  } finally {
    closeSync(fd);
  }
}
