import { type FileHandle, statfs } from 'node:fs/promises';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Bindings, loadBindings } from './bindings.js';
import { openQuietly } from './open-quietly.js';
import { canTrustMincore } from './residency.js';

/** How much of a region of a file is in the page cache. */
export interface CachedPages {
  /** Pages that the region touches. */
  readonly pages: number;
  /** Those of them that are in the page cache. */
  readonly resident: number;
  /** Bytes of a page. */
  readonly pageBytes: number;
}

/** Looks at what the page cache has of files. Each call opens its file for as long as it takes. */
export interface PageCacheView {
  readonly cachedPages: typeof cachedPages;
  readonly pageMap: typeof pageMap;
}

/** Looked at in one go, in bytes: at most some 2 ms on the event loop, whichever way. */
const STEP_BYTES = 32 * 1024 * 1024;
/** The same where each page is a call of its own. */
const SLOW_STEP_BYTES = 2 * 1024 * 1024;
/** Of a page map, in bytes of the file: a million pages of 4 KiB. */
const MAX_MAP_BYTES = 4 * 1024 * 1024 * 1024;
/** File systems whose files may have their pages in another one, by the type that statfs(2) gives: overlay, FUSE, aufs. */
const STACKED = new Set([0x794c7630, 0x65735546, 0x61756673]);

let shared: PageCacheView | undefined;

/**
 * Counts how many pages of `length` bytes at `offset` are in the page cache; of the whole file by default. Never reads the
 * file, never waits for a disk but to open it, never holds the event loop for more than a few milliseconds. Follows
 * symlinks. Counts as no access where the file is this user's.
 *
 * What is behind the end of the file is left out. Undefined where nobody can tell: neither `koffi` nor `mmap-io` loads, it
 * is no regular file, or the kernel does not tell the truth because it belongs to somebody else (see
 * {@link canTrustMincore}).
 *
 * @throws RangeError for an offset or length that is no whole number of bytes; else the system's error where the file cannot
 * be opened
 */
export function cachedPages(path: string, offset?: number, length?: number): Promise<CachedPages | undefined> {
  shared ??= viewPageCache(loadBindings());
  return shared.cachedPages(path, offset, length);
}

/**
 * The same page by page: a byte for each page that the region touches, 1 for one that is in the page cache, else 0. At most
 * 4 GiB of the file a call; longer regions are cut.
 *
 * @throws as {@link cachedPages}
 */
export function pageMap(path: string, offset?: number, length?: number): Promise<Uint8Array | undefined> {
  shared ??= viewPageCache(loadBindings());
  return shared.pageMap(path, offset, length);
}

/** The same through given bindings. */
export function viewPageCache(bindings: Bindings): PageCacheView {
  return {
    cachedPages: (path, offset, length) =>
      within(path, bindings, offset, length, Number.POSITIVE_INFINITY, async (region) => {
        const pages = pagesIn(region, bindings);
        const resident = (await countByInode(region, bindings)) ?? (await countByMapping(region, bindings));
        return resident === undefined ? undefined : { pages, resident, pageBytes: bindings.pageSize };
      }),
    pageMap: (path, offset, length) =>
      within(path, bindings, offset, length, MAX_MAP_BYTES, (region) => mapPages(region, bindings)),
  };
}

/** A part of an open file, from the start of a page. */
interface Region {
  readonly path: string;
  readonly fd: number;
  readonly start: number;
  readonly end: number;
  /** Whether mincore is to be believed. */
  readonly isOurs: boolean;
}

async function within<T>(
  path: string,
  { pageSize }: Bindings,
  offset = 0,
  length = Number.POSITIVE_INFINITY,
  maxBytes: number,
  look: (region: Region) => Promise<T | undefined>,
): Promise<T | undefined> {
  assertBytes('offset', offset);
  if (length !== Number.POSITIVE_INFINITY) assertBytes('length', length);
  const file: FileHandle = await openQuietly(path);
  try {
    const stats = await file.stat({ bigint: true });
    if (!stats.isFile()) return undefined;
    const start = offset - (offset % pageSize);
    const end = Math.max(start, Math.min(offset + length, Number(stats.size), start + maxBytes));
    return await look({ path, fd: file.fd, start, end, isOurs: canTrustMincore(stats) });
  } finally {
    await file.close();
  }
}

function assertBytes(name: string, value: number): void {
  if (Number.isSafeInteger(value) && value >= 0) return;
  throw new RangeError(`${name}: expected a whole number of bytes, received ${value}`);
}

function pagesIn({ start, end }: Region, { pageSize }: Bindings): number {
  return Math.ceil((end - start) / pageSize);
}

/** Without a mapping, for everybody's files where the kernel allows it; undefined where it cannot be told that way. */
async function countByInode(region: Region, { libc }: Bindings): Promise<number | undefined> {
  if (libc === undefined) return undefined;
  let resident = 0;
  for (let at = region.start; at < region.end; at += STEP_BYTES) {
    if (at > region.start) await nextTurn();
    const counted = libc.countCached(region.fd, at, Math.min(STEP_BYTES, region.end - at));
    if (counted === -1) return undefined;
    resident += counted;
  }
  return resident === 0 && (await mayBeElsewhere(region.path)) ? undefined : resident;
}

// An inode without a page says nothing where the file system hands out the pages of another inode. A mapping finds them.
async function mayBeElsewhere(path: string): Promise<boolean> {
  try {
    return STACKED.has((await statfs(path)).type);
  } catch {
    return true; // it is gone: asking the descriptor the other way is right too
  }
}

async function countByMapping(region: Region, bindings: Bindings): Promise<number | undefined> {
  const pages = await mapPages(region, bindings);
  return pages?.reduce((resident, page) => resident + page, 0);
}

async function mapPages(region: Region, bindings: Bindings): Promise<Uint8Array | undefined> {
  if (!region.isOurs) return undefined;
  const pages = new Uint8Array(pagesIn(region, bindings));
  const step = bindings.libc === undefined ? SLOW_STEP_BYTES : STEP_BYTES;
  for (let at = region.start; at < region.end; at += step) {
    if (at > region.start) await nextTurn();
    const length = Math.min(step, region.end - at);
    const part = pages.subarray((at - region.start) / bindings.pageSize);
    if (!mapStep(region.fd, at, length, part, bindings)) return undefined;
  }
  return pages;
}

function mapStep(fd: number, offset: number, length: number, pages: Uint8Array, bindings: Bindings): boolean {
  const { libc, pageSize } = bindings;
  if (libc !== undefined) return libc.mapResident(fd, offset, length, pages);
  if (bindings.mapper === undefined) return false;
  const mapping = bindings.map(fd, offset, length);
  if (typeof mapping === 'string') return false;
  // Whole runs first: most files are either hot or cold, and a call costs more than a page.
  if (mapping.isResident(0, length)) {
    pages.fill(1, 0, Math.ceil(length / pageSize));
    return true;
  }
  for (let page = 0; page * pageSize < length; page++) {
    pages[page] = mapping.isResident(page * pageSize, Math.min(pageSize, length - page * pageSize)) ? 1 : 0;
  }
  return true;
}
