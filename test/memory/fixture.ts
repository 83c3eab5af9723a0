import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { ReadFile } from '../../src/memory/sensor.js';

export const MIB = 2 ** 20;
export const GIB = 2 ** 30;
/** Limit that cgroup v1 reports for "unlimited" with pages of 4 KiB. */
export const V1_UNLIMITED = '9223372036854771712';

/** Root directory of a fake host, with the files of /proc and /sys that a test needs. */
export interface HostTree {
  readonly read: ReadFile;
  /** Paths that were read, in order. */
  readonly reads: string[];
  write(files: Record<string, string>): void;
  remove(path: string): void;
}

export function hostTree(t: ExecutionContext, files: Record<string, string>): HostTree {
  const root = mkdtempSync(join(tmpdir(), 'hotblob-memory-'));
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  const tree: HostTree = {
    reads: [],
    read(path) {
      tree.reads.push(path);
      return readFileSync(join(root, path), 'utf8');
    },
    write(added) {
      for (const [path, text] of Object.entries(added)) {
        mkdirSync(dirname(join(root, path)), { recursive: true });
        writeFileSync(join(root, path), text);
      }
    },
    remove: (path) => rmSync(join(root, path), { recursive: true }),
  };
  tree.write(files);
  return tree;
}

/** Returns the rows in the format of memory.stat: `name value` lines. */
export function stat(rows: Record<string, number | string>): string {
  return Object.entries(rows)
    .map(([name, value]) => `${name} ${value}\n`)
    .join('');
}

/** Returns the /proc/meminfo of a machine with clean page cache, and with `rows`. All values are in bytes. */
export function meminfo(totalBytes: number, rows: Record<string, number> = {}): string {
  const all = {
    MemTotal: totalBytes,
    MemFree: 0,
    MemAvailable: totalBytes / 2,
    Cached: totalBytes / 2,
    AnonPages: 0,
    ...rows,
  };
  return Object.entries(all)
    .map(([name, bytes]) => `${`${name}:`.padEnd(16)}${String(bytes / 1024).padStart(8)} kB\n`)
    .join('');
}

/** Returns the memory.stat of a v2 group with `bytes` of anonymous memory. */
export const v2Stat = (bytes: number, rows: Record<string, number> = {}) =>
  stat({ anon: bytes, file: 0, kernel: 0, shmem: 0, file_dirty: 0, file_writeback: 0, slab_reclaimable: 0, ...rows });

/** Returns the relevant rows of memory.stat of a v1 group with `bytes` of anonymous memory. */
export const v1Stat = (bytes: number, rows: Record<string, number | string> = {}) =>
  stat({ cache: 1, rss: 1, hierarchical_memory_limit: V1_UNLIMITED, total_cache: 0, total_rss: bytes, ...rows });

/** Returns the files of a v2 group. */
export function v2Group(directory: string, limit: number | 'max', usedBytes: number): Record<string, string> {
  return {
    [`${directory}/memory.max`]: `${limit}\n`,
    [`${directory}/memory.high`]: 'max\n',
    [`${directory}/memory.stat`]: v2Stat(usedBytes),
  };
}

/** Returns the files of a v1 group. */
export function v1Group(directory: string, limit: number | string, usedBytes: number): Record<string, string> {
  return {
    [`${directory}/memory.limit_in_bytes`]: `${limit}\n`,
    [`${directory}/memory.stat`]: v1Stat(usedBytes, { hierarchical_memory_limit: limit }),
  };
}

/** Returns the line of /proc/self/mountinfo for a v2 mount. */
export const v2Mount = (root = '/', directory = '/sys/fs/cgroup') =>
  `30 24 0:26 ${root} ${directory} rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n`;

/** Returns the line of /proc/self/mountinfo for a v1 mount. */
export const v1Mount = (root = '/', directory = '/sys/fs/cgroup/memory', controllers = 'memory') =>
  `35 31 0:32 ${root} ${directory} rw,relatime - cgroup cgroup rw,${controllers}\n`;

const OTHER_MOUNTS =
  '22 27 0:21 / /proc rw,relatime - proc proc rw\n23 27 0:22 / /sys rw,relatime shared:2 master:1 - sysfs sysfs rw\n';

/** Returns the two files of /proc from which the cgroups are found. */
export const proc = (cgroup: string, mounts: string) => ({
  '/proc/self/cgroup': cgroup,
  '/proc/self/mountinfo': OTHER_MOUNTS + mounts,
});
