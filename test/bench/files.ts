import { randomBytes } from 'node:crypto';
import { closeSync, fstatSync, openSync } from 'node:fs';
import { mkdir, open, statfs } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type * as Koffi from 'koffi';

export const KIB = 1024;
export const MIB = 1024 * KIB;
export const GIB = 1024 * MIB;

/** Writes files with random bytes, and syncs them. */
export async function writeFiles(directory: string, sizes: Readonly<Record<string, number>>): Promise<void> {
  await mkdir(directory, { recursive: true });
  const chunk = randomBytes(MIB);
  for (const [name, size] of Object.entries(sizes)) {
    const file = await open(join(directory, name), 'wx');
    try {
      for (let left = size; left > 0; left -= chunk.length) await file.writeFile(chunk.subarray(0, left));
      // Dirty pages cannot be evicted from the page cache.
      await file.sync();
    } finally {
      await file.close();
    }
  }
}

/** Returns a message if the file system of `directory` does not have space for `bytes` and 1 GiB more. */
export async function diskSpaceProblem(directory: string, bytes: number): Promise<string | undefined> {
  const { bavail, bsize } = await statfs(directory);
  const needed = bytes + GIB;
  return bavail * bsize >= needed
    ? undefined
    : `needs ${Math.ceil(needed / GIB)} GiB of free space in ${directory}; set TMPDIR to another directory`;
}

/** Evicts files from the page cache. */
export interface Evictor {
  /** Evicts files. Returns the share of their pages that is still resident: 0 if all are cold. */
  evict(paths: readonly string[]): number;
}

const PROT_READ = 1;
const MAP_SHARED = 1;
const POSIX_FADV_DONTNEED = 4;
const MAP_FAILED = 2n ** 64n - 1n;
const SC_PAGESIZE = 30;

/** Returns `undefined` on systems other than Linux, and if koffi does not load. */
export function loadEvictor(): Evictor | undefined {
  if (process.platform !== 'linux') return undefined;
  let koffi: typeof Koffi;
  try {
    koffi = createRequire(import.meta.url)('koffi');
  } catch {
    return undefined;
  }
  const lib = koffi.load(null);
  const fadvise = lib.func('int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)');
  const mmap = lib.func('void *mmap(void *addr, size_t length, int prot, int flags, int fd, int64_t offset)');
  const munmap = lib.func('int munmap(void *addr, size_t length)');
  const mincore = lib.func('int mincore(void *addr, size_t length, void *vec)');

  const sysconf = lib.func('int64_t sysconf(int name)');
  const pageBytes = Number(sysconf(SC_PAGESIZE));

  const residentPages = (fd: number, size: number): number => {
    const address: bigint = mmap(null, size, PROT_READ, MAP_SHARED, fd, 0);
    if (BigInt.asUintN(64, address) === MAP_FAILED) throw new Error(`mmap: errno ${koffi.errno()}`);
    const pages = Buffer.alloc(Math.ceil(size / pageBytes));
    const result: number = mincore(address, size, pages);
    munmap(address, size);
    if (result !== 0) throw new Error(`mincore: errno ${koffi.errno()}`);
    return pages.reduce((count, page) => count + (page & 1), 0);
  };

  return {
    evict(paths) {
      let resident = 0;
      let pages = 0;
      for (const path of paths) {
        const fd = openSync(path, 'r');
        try {
          const { size } = fstatSync(fd);
          fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
          resident += residentPages(fd, size);
          pages += Math.ceil(size / pageBytes);
        } finally {
          closeSync(fd);
        }
      }
      return resident / pages;
    },
  };
}
