import os from 'node:os';
import { type MemoryUse, parseRows, type ReadFile, sumRows } from './sensor.js';

/**
 * Rows of /proc/meminfo that hold memory the kernel cannot simply drop (Documentation/filesystems/proc.rst). They do
 * not overlap.
 *
 * Not `MemTotal - MemAvailable`: MemAvailable holds back the zones' low watermarks, of free memory, page cache and slab
 * each, so that clean pages would count. Not `MemTotal - MemFree - cache` either: memory that has no row of its own, such
 * as the cache of ZFS, would count.
 */
const HELD_ROWS = [
  'AnonPages',
  'Shmem',
  'SUnreclaim',
  'KernelStack',
  'PageTables',
  'SecPageTables',
  'Percpu',
  'Zswap',
  // Set aside for huge pages whether in use or not, and in no other row.
  'Hugetlb',
  'Dirty',
  'Writeback',
  'WritebackTmp',
];

/**
 * The whole machine, from /proc/meminfo: the limit is physical memory. Socket buffers and locked file pages are not
 * counted, because no row tells them apart.
 *
 * @throws Error when the file cannot be read or lacks MemTotal or AnonPages
 */
export function readHostMemory(read: ReadFile): MemoryUse {
  const rows = parseRows(read('/proc/meminfo'));
  const total = rows.get('MemTotal');
  if (!total || !rows.has('AnonPages')) throw new Error('/proc/meminfo lacks MemTotal or AnonPages');
  // Every row is in units of 1,024 bytes.
  return { usedBytes: sumRows(rows, HELD_ROWS) * 1024, limitBytes: total * 1024 };
}

/**
 * The machine as Node sees it, where there is no /proc: the limit is physical memory.
 *
 * - Windows: `os.freemem()` counts the standby list, which is clean cache, as free: what is not free is used.
 * - Elsewhere (macOS, the BSDs) `os.freemem()` counts cache as used and would show pressure for ever. This process's
 *   resident set stands in: other processes go unseen, and file pages that this process has mapped and touched count.
 *
 * @throws Error when the resident set cannot be read: Node itself reads /proc for it on Linux
 */
export function readOsMemory(platform: NodeJS.Platform = process.platform): MemoryUse {
  const limitBytes = os.totalmem();
  const usedBytes = platform === 'win32' ? limitBytes - os.freemem() : process.memoryUsage.rss();
  return { usedBytes, limitBytes };
}
