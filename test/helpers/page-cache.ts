import { closeSync, fstatSync, fsyncSync, openSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import koffi from 'koffi';

/** Linux, as the tests need it: what is in the page cache, and how to get it out. */

const PAGE = 4096;
const PROT_READ = 1;
const MAP_SHARED = 1;
const MAP_FAILED = 2n ** 64n - 1n;
const POSIX_FADV_DONTNEED = 4;
const MADV_DONTNEED = 4;

const lib = koffi.load(null);
const mmap = lib.func('void *mmap(void *addr, size_t length, int prot, int flags, int fd, int64_t offset)');
const munmap = lib.func('int munmap(void *addr, size_t length)');
const mincore = lib.func('int mincore(void *addr, size_t length, void *vec)');
const madvise = lib.func('int madvise(void *addr, size_t length, int advice)');
const mlock = lib.func('int mlock(void *addr, size_t length)');
const fadvise = lib.func('int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)');

/** How many bytes of a part of a file are in the page cache, by a mapping of its own that is never touched. */
export function residentBytes(path: string, start = 0, end = sizeOf(path)): number {
  const fd = openSync(path, 'r');
  try {
    const mapStart = start - (start % PAGE);
    const length = end - mapStart;
    const address: bigint = mmap(null, length, PROT_READ, MAP_SHARED, fd, mapStart);
    if (BigInt.asUintN(64, address) === MAP_FAILED) throw new Error(`mmap: errno ${koffi.errno()}`);
    const pages = Buffer.alloc(Math.ceil(length / PAGE));
    const answer: number = mincore(address, length, pages);
    munmap(address, length);
    if (answer !== 0) throw new Error(`mincore: errno ${koffi.errno()}`);
    return pages.filter((page) => (page & 1) === 1).byteLength * PAGE;
  } finally {
    closeSync(fd);
  }
}

/**
 * Reads a part of a file into the page cache and locks it there, so that the kernel does not reclaim it. The returned function
 * unlocks it. Users other than root may lock 8 MiB in all (RLIMIT_MEMLOCK). `start` is a multiple of the page size.
 */
export function lockInPageCache(path: string, start: number, end: number): () => void {
  const fd = openSync(path, 'r');
  const address: bigint = mmap(null, end - start, PROT_READ, MAP_SHARED, fd, start);
  closeSync(fd);
  if (BigInt.asUintN(64, address) === MAP_FAILED) throw new Error(`mmap: errno ${koffi.errno()}`);
  if (mlock(address, end - start) !== 0) throw new Error(`mlock: errno ${koffi.errno()}`);
  return () => munmap(address, end - start);
}

/** Takes a part of a file out of the page cache, for real, mapped by this process or not. Throws where it stays. */
export function evict(path: string, start = 0, end = sizeOf(path)): void {
  forgetMappedPages(path);
  const fd = openSync(path, 'r');
  try {
    for (let attempt = 0; attempt < 200; attempt++) {
      drop(fd, start, end);
      if (residentBytes(path, start, end) === 0) return;
    }
  } finally {
    closeSync(fd);
  }
  throw new Error(`${residentBytes(path, start, end)} bytes of ${path} stay in the page cache`);
}

/** Takes out of the page cache what of a file can be taken out at once: not what another process has mapped. */
export function evictWhatIsIdle(path: string): void {
  const fd = openSync(path, 'r');
  drop(fd, 0, fstatSync(fd).size);
  closeSync(fd);
}

function drop(fd: number, start: number, end: number): void {
  // A dirty page cannot be dropped.
  fsyncSync(fd);
  fadvise(fd, start, end - start, POSIX_FADV_DONTNEED);
}

// The kernel drops no page that a process has in its page tables. The mapping stays: its next touch is a page fault.
function forgetMappedPages(path: string): void {
  for (const line of readFileSync('/proc/self/maps', 'latin1').split('\n')) {
    const found = /^([0-9a-f]+)-([0-9a-f]+) .{4} \S+ \S+ \d+ +(.*)$/.exec(line);
    if (found === null || found[3] !== path) continue;
    const start = BigInt(`0x${found[1]}`);
    madvise(start, Number(BigInt(`0x${found[2]}`) - start), MADV_DONTNEED);
  }
}

/** How often the main thread of a process has waited for a disk because a page of a mapping was not there. */
export function majorFaults(pid = process.pid): number {
  const fields = readFileSync(`/proc/${pid}/task/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? [];
  // The twelfth field, counted from the process id (proc(5)).
  return Number(fields[9]);
}

/** The paths of all open descriptors of a process below a directory, one entry for each descriptor. */
export function descriptorsBelow(directory: string, pid: number | 'self' = 'self'): string[] {
  const found: string[] = [];
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    try {
      const path = readlinkSync(`/proc/${pid}/fd/${fd}`);
      if (path.startsWith(directory)) found.push(path);
    } catch {
      // closed meanwhile
    }
  }
  return found;
}

function sizeOf(path: string): number {
  const fd = openSync(path, 'r');
  try {
    return fstatSync(fd).size;
  } finally {
    closeSync(fd);
  }
}
