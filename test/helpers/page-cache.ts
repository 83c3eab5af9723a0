import { closeSync, fstatSync, fsyncSync, openSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import koffi from 'koffi';

// Access to the page cache of Linux: queries residency, and evicts or locks pages.

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

/** Returns how many bytes of a region of a file are in the page cache. Uses mincore() on a mapping that is never accessed. */
export function residentBytes(path: string, start = 0, end = sizeOf(path)): number {
  const fd = openSync(path, 'r');
  try {
    const mapStart = start - (start % PAGE);
    const length = end - mapStart;
    const address: bigint = mmap(null, length, PROT_READ, MAP_SHARED, fd, mapStart);
    if (BigInt.asUintN(64, address) === MAP_FAILED) throw new Error(`mmap: errno ${koffi.errno()}`);
    const pages = Buffer.alloc(Math.ceil(length / PAGE));
    const result: number = mincore(address, length, pages);
    munmap(address, length);
    if (result !== 0) throw new Error(`mincore: errno ${koffi.errno()}`);
    return pages.filter((page) => (page & 1) === 1).byteLength * PAGE;
  } finally {
    closeSync(fd);
  }
}

/**
 * Reads a region of a file into the page cache and locks it, so that the kernel does not reclaim it. Returns a function that
 * unlocks it. `start` must be a multiple of the page size. Unprivileged users may lock 8 MiB in total (RLIMIT_MEMLOCK).
 */
export function lockInPageCache(path: string, start: number, end: number): () => void {
  const fd = openSync(path, 'r');
  const address: bigint = mmap(null, end - start, PROT_READ, MAP_SHARED, fd, start);
  closeSync(fd);
  if (BigInt.asUintN(64, address) === MAP_FAILED) throw new Error(`mmap: errno ${koffi.errno()}`);
  if (mlock(address, end - start) !== 0) throw new Error(`mlock: errno ${koffi.errno()}`);
  return () => munmap(address, end - start);
}

/** Evicts a region of a file from the page cache, including pages that this process has mapped. Throws if pages remain. */
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

/** Evicts the pages of a file that no process has mapped. Tries once. */
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

// The kernel does not evict pages that are in the page table of a process. MADV_DONTNEED removes them from the page table of
// this process. The mapping stays valid, and its next access is a page fault.
function forgetMappedPages(path: string): void {
  for (const line of readFileSync('/proc/self/maps', 'latin1').split('\n')) {
    const found = /^([0-9a-f]+)-([0-9a-f]+) .{4} \S+ \S+ \d+ +(.*)$/.exec(line);
    if (found === null || found[3] !== path) continue;
    const start = BigInt(`0x${found[1]}`);
    madvise(start, Number(BigInt(`0x${found[2]}`) - start), MADV_DONTNEED);
  }
}

/** Returns the number of major page faults of the main thread of a process. Each one has waited for a disk. */
export function majorFaults(pid = process.pid): number {
  const fields = readFileSync(`/proc/${pid}/task/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? [];
  // majflt is field 12 of proc_pid_stat(5). The first two fields are split off.
  return Number(fields[9]);
}

/** Returns the paths of all open descriptors of a process below a directory, one for each descriptor. */
export function descriptorsBelow(directory: string, pid: number | 'self' = 'self'): string[] {
  const found: string[] = [];
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    try {
      const path = readlinkSync(`/proc/${pid}/fd/${fd}`);
      if (path.startsWith(directory)) found.push(path);
    } catch {
      // The descriptor was closed after readdir.
    }
  }
  return found;
}

/** Returns the paths of deleted files below a directory that this process has open or mapped, one for each. */
export function deletedFilesHeld(directory: string): string[] {
  const mapped = readFileSync('/proc/self/maps', 'latin1')
    .split('\n')
    .map((line) => line.slice(line.indexOf('/')))
    .filter((path) => path.startsWith(`${directory}/`));
  return [...descriptorsBelow(directory), ...mapped].filter((path) => path.endsWith(' (deleted)'));
}

function sizeOf(path: string): number {
  const fd = openSync(path, 'r');
  try {
    return fstatSync(fd).size;
  } finally {
    closeSync(fd);
  }
}
