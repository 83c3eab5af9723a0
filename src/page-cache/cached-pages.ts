import { type FileHandle, statfs } from 'node:fs/promises';
import { setImmediate as nextIteration } from 'node:timers/promises';
import { type Bindings, loadBindings } from './bindings.js';
import type { Mapping } from './mapper.js';
import { openNoatime } from './open-noatime.js';
import { canTrustMincore } from './residency.js';

/** Page counts of a file region. */
interface CachedPages {
  /** Number of pages that the region overlaps. */
  readonly pages: number;
  /** Number of those pages that are in the page cache. */
  readonly resident: number;
  /** Page size in bytes. */
  readonly pageBytes: number;
}

/** Reports which pages of files are in the page cache. */
export interface PageCacheInspector {
  readonly cachedPages: typeof cachedPages;
  readonly pageMap: typeof pageMap;
}

/** Number of bytes that are inspected in one iteration of the event loop. This takes at most about 2 ms. */
const STEP_BYTES = 32 * 1024 * 1024;
/** Same as {@link STEP_BYTES}, if each page takes a call of its own. */
const SLOW_STEP_BYTES = 2 * 1024 * 1024;
/** Number of pages that are counted in one iteration of the event loop. */
const STEP_PAGES = 256 * 1024;
/** Maximum size of the region of a page map: a million pages of 4 KiB. */
const MAX_MAP_BYTES = 4 * 1024 * 1024 * 1024;
/**
 * Stacked file systems: the pages of a file may belong to another file system. The numbers are the types in statfs(2).
 */
const STACKED_FILE_SYSTEMS = new Set([0x794c7630 /* overlay */, 0x65735546 /* FUSE */, 0x61756673 /* aufs */]);

let shared: PageCacheInspector | undefined;

/**
 * Counts the resident pages of `length` bytes at `offset`, by default of the whole file. Bytes beyond the end of the
 * file are ignored. Follows symbolic links. Opens and closes the file, but does not read it. Blocks the event loop for
 * at most a few milliseconds at a time. Does not update the access time of files that the process owns.
 *
 * Returns undefined if neither `koffi` nor `mmap-io` can be loaded, or if the path is not a regular file. Also returns
 * undefined if another user owns the file, because the kernel then does not report its pages (see
 * {@link canTrustMincore}).
 *
 * @throws RangeError if `offset` or `length` is not a whole number of bytes
 * @throws the error of the system call if the file cannot be opened
 */
export function cachedPages(path: string, offset?: number, length?: number): Promise<CachedPages | undefined> {
  shared ??= createPageCacheInspector(loadBindings());
  return shared.cachedPages(path, offset, length);
}

/**
 * Like {@link cachedPages}, but returns one byte for each page that the region overlaps: 1 if it is resident, otherwise
 * 0. A region of more than 4 GiB is shortened to 4 GiB.
 *
 * @throws like {@link cachedPages}
 */
export function pageMap(path: string, offset?: number, length?: number): Promise<Uint8Array | undefined> {
  shared ??= createPageCacheInspector(loadBindings());
  return shared.pageMap(path, offset, length);
}

/** Creates an inspector that uses the given bindings. */
export function createPageCacheInspector(bindings: Bindings): PageCacheInspector {
  return {
    cachedPages: (path, offset, length) =>
      inspectRegion(path, bindings, offset, length, Number.POSITIVE_INFINITY, async (region) => {
        const pages = countPages(region, bindings);
        const resident = (await countByInode(region, bindings)) ?? (await countByMapping(region, bindings));
        return resident === undefined ? undefined : { pages, resident, pageBytes: bindings.pageSize };
      }),
    pageMap: (path, offset, length) =>
      inspectRegion(path, bindings, offset, length, MAX_MAP_BYTES, (region) => mapPages(region, bindings)),
  };
}

/** Region of an open file. It starts at a page boundary. */
interface Region {
  readonly path: string;
  readonly fd: number;
  readonly start: number;
  readonly end: number;
  /** Whether mincore reports the pages of the file correctly. See {@link canTrustMincore}. */
  readonly isMincoreTrusted: boolean;
}

async function inspectRegion<T>(
  path: string,
  { pageSize }: Bindings,
  offset = 0,
  length = Number.POSITIVE_INFINITY,
  maxBytes: number,
  inspect: (region: Region) => Promise<T | undefined>,
): Promise<T | undefined> {
  assertByteCount('offset', offset);
  if (length !== Number.POSITIVE_INFINITY) assertByteCount('length', length);
  const file: FileHandle = await openNoatime(path);
  try {
    const stats = await file.stat({ bigint: true });
    if (!stats.isFile()) return undefined;
    const start = offset - (offset % pageSize);
    const end = Math.max(start, Math.min(offset + length, Number(stats.size), start + maxBytes));
    return await inspect({ path, fd: file.fd, start, end, isMincoreTrusted: canTrustMincore(stats) });
  } finally {
    await file.close();
  }
}

function assertByteCount(name: string, value: number): void {
  if (Number.isSafeInteger(value) && value >= 0) return;
  throw new RangeError(`${name}: expected a whole number of bytes, 0 or more, received ${value}`);
}

function countPages({ start, end }: Region, { pageSize }: Bindings): number {
  return Math.ceil((end - start) / pageSize);
}

/**
 * Counts resident pages with cachestat(2), without mapping the file. Returns undefined if the kernel does not report
 * them.
 */
async function countByInode(region: Region, { libc }: Bindings): Promise<number | undefined> {
  if (libc === undefined) return undefined;
  let resident = 0;
  for (let position = region.start; position < region.end; position += STEP_BYTES) {
    if (position > region.start) await nextIteration();
    const counted = libc.countCached(region.fd, position, Math.min(STEP_BYTES, region.end - position));
    if (counted === -1) return undefined;
    resident += counted;
  }
  return resident === 0 && (await isOnStackedFileSystem(region.path)) ? undefined : resident;
}

// On a stacked file system, the pages may belong to the inode of another file. mincore finds them through a mapping,
// cachestat does not.
async function isOnStackedFileSystem(path: string): Promise<boolean> {
  try {
    return STACKED_FILE_SYSTEMS.has((await statfs(path)).type);
  } catch {
    return true; // the path no longer exists; counting through a mapping is correct on every file system
  }
}

async function countByMapping(region: Region, bindings: Bindings): Promise<number | undefined> {
  const pages = await mapPages(region, bindings);
  if (pages === undefined) return undefined;
  let resident = 0;
  for (let start = 0; start < pages.length; start += STEP_PAGES) {
    if (start > 0) await nextIteration();
    for (const page of pages.subarray(start, start + STEP_PAGES)) resident += page;
  }
  return resident;
}

async function mapPages(region: Region, bindings: Bindings): Promise<Uint8Array | undefined> {
  if (!region.isMincoreTrusted) return undefined;
  const pages = new Uint8Array(countPages(region, bindings));
  const step = bindings.libc === undefined ? SLOW_STEP_BYTES : STEP_BYTES;
  for (let position = region.start; position < region.end; position += step) {
    if (position > region.start) await nextIteration();
    const length = Math.min(step, region.end - position);
    const stepPages = pages.subarray((position - region.start) / bindings.pageSize);
    if (!mapStep(region.fd, position, length, stepPages, bindings)) return undefined;
  }
  return pages;
}

function mapStep(fd: number, offset: number, length: number, pages: Uint8Array, bindings: Bindings): boolean {
  const { libc, pageSize } = bindings;
  if (libc !== undefined) return libc.mapResident(fd, offset, length, pages);
  if (bindings.mapper === undefined) return false;
  const mapping = bindings.map(fd, offset, length);
  if (typeof mapping === 'string') return false;
  try {
    readResidency(mapping, length, pages, pageSize);
    return true;
  } finally {
    bindings.unmap(mapping);
  }
}

function readResidency(mapping: Mapping, length: number, pages: Uint8Array, pageSize: number): void {
  // The first call is for the whole step, because most files are entirely resident and each page would cost a call.
  if (mapping.isResident(0, length)) {
    pages.fill(1, 0, Math.ceil(length / pageSize));
    return;
  }
  for (let page = 0; page * pageSize < length; page++) {
    pages[page] = mapping.isResident(page * pageSize, Math.min(pageSize, length - page * pageSize)) ? 1 : 0;
  }
}
