import os from 'node:os';
import { type MemoryUsage, parseRows, type ReadFile, sumRows } from './sensor.js';

/**
 * Rows of /proc/meminfo that hold unreclaimable memory (Documentation/filesystems/proc.rst). The rows do not overlap.
 *
 * `MemTotal - MemAvailable` is not used: MemAvailable deducts the low watermarks of the zones from free memory, page
 * cache and slab, so clean pages would count as used. `MemTotal - MemFree - cache` is not used either: it includes
 * memory that has no row of its own, such as the ZFS cache.
 */
const UNRECLAIMABLE_ROWS = [
  'AnonPages',
  'Shmem',
  'SUnreclaim',
  'KernelStack',
  'PageTables',
  'SecPageTables',
  'Percpu',
  'Zswap',
  // Memory reserved for huge pages, whether used or not. No other row includes it.
  'Hugetlb',
  'Dirty',
  'Writeback',
  'WritebackTmp',
];

/**
 * Reads the memory usage of the machine from /proc/meminfo. The limit is physical memory. Socket buffers and locked
 * file pages do not count, because they have no rows of their own.
 *
 * @throws Error if the file cannot be read or lacks MemTotal or AnonPages
 */
export function readHostMemory(read: ReadFile): MemoryUsage {
  const rows = parseRows(read('/proc/meminfo'));
  const total = rows.get('MemTotal');
  if (!total || !rows.has('AnonPages')) throw new Error('/proc/meminfo: expected the rows MemTotal and AnonPages');
  // Every row is in units of 1,024 bytes.
  return { usedBytes: sumRows(rows, UNRECLAIMABLE_ROWS) * 1024, limitBytes: total * 1024 };
}

/**
 * Reads the memory usage of the machine through Node, for systems without /proc. The limit is physical memory.
 *
 * - Windows: `os.freemem()` counts the standby list (clean cache) as free, so all other memory counts as used.
 * - macOS and the BSDs: `os.freemem()` counts cache as used, so the result would always show high pressure. The
 *   resident set size of this process is used instead. It does not include other processes, and it includes mapped file
 *   pages that this process touched.
 *
 * @throws Error if the resident set size cannot be read (on Linux, Node reads it from /proc)
 */
export function readOsMemory(platform: NodeJS.Platform = process.platform): MemoryUsage {
  const limitBytes = os.totalmem();
  const usedBytes = platform === 'win32' ? limitBytes - os.freemem() : process.memoryUsage.rss();
  return { usedBytes, limitBytes };
}
