import { type MemoryUsage, parseRows, type ReadFile, sumRows } from './sensor.js';

/** Memory cgroup of this process. */
export interface MemoryCgroup {
  readonly version: 1 | 2;
  /** Directories with a readable limit: the cgroup of the process first, then its ancestors up to the mount point. */
  readonly directories: readonly string[];
}

/**
 * Limit and usage of the cgroup of this process and of each ancestor. A v2 cgroup without a limit is omitted. A v1
 * cgroup without a limit is included, because v1 reports "unlimited" as a limit near 2^63.
 */
export interface CgroupReading {
  readonly version: 1 | 2;
  readonly usages: readonly MemoryUsage[];
}

interface Mount {
  readonly version: 1 | 2;
  /** Path, in the hierarchy, of the cgroup that the mount point shows. */
  readonly root: string;
  /** Mount point. */
  readonly directory: string;
}

/**
 * Finds the cgroup to which the kernel charges the memory of this process. Reads /proc/self/cgroup and
 * /proc/self/mountinfo (proc(5), cgroups(7)). The kernel attaches the memory controller to v1 or to v2, never to both.
 * Therefore only the version in use has limit files in the cgroup of the process or in an ancestor. Hybrid
 * hosts mount v2 as well, but without limit files.
 *
 * @returns `undefined` if neither the cgroup nor an ancestor has a readable limit, for example in the root cgroup of v2
 * @throws Error if one of the two files cannot be read
 */
export function findMemoryCgroup(read: ReadFile): MemoryCgroup | undefined {
  const groups = parseGroups(read('/proc/self/cgroup'));
  const mounts = parseMounts(read('/proc/self/mountinfo'));
  for (const { version, path } of groups) {
    for (const mount of mountsByDepth(mounts, version, path)) {
      const directories = groupDirectories(mount, path).filter((directory) => isReadable(version, directory, read));
      if (directories.length > 0) return { version, directories };
    }
  }
  return undefined;
}

/**
 * Returns a function that reads the limits and their usage. The function searches for the cgroup on the first call, and
 * again when a limit can no longer be read. It never throws: it returns `undefined` if no cgroup is found or readable.
 */
export function cgroupReader(read: ReadFile): () => CgroupReading | undefined {
  let cgroup: MemoryCgroup | undefined;
  let searched = false;
  const search = () => {
    // If nothing is found, the previous cgroup is kept, and the next call reads it or searches again.
    cgroup = findMemoryCgroup(read) ?? cgroup;
    searched = true;
  };
  const readAll = () => cgroup && { version: cgroup.version, usages: readUsages(cgroup, read) };
  return () => {
    try {
      if (!searched) search();
      return readAll();
    } catch {
      // The process was moved, the cgroup was removed, or a file is malformed.
    }
    try {
      search();
      return readAll();
    } catch {
      return undefined;
    }
  };
}

/**
 * Reads the limit and the usage of each cgroup that has a limit.
 *
 * @throws Error if a cgroup cannot be read
 */
function readUsages({ version, directories }: MemoryCgroup, read: ReadFile): MemoryUsage[] {
  return directories.map((directory) => READ_USAGE[version](directory, read)).filter((usage) => usage !== undefined);
}

const READ_USAGE = { 1: readUsageV1, 2: readUsageV2 } as const;

/**
 * Returns whether the limit and the usage of a cgroup can be read. A cgroup that cannot be read is skipped, because the
 * limits of the others still apply.
 */
function isReadable(version: 1 | 2, directory: string, read: ReadFile): boolean {
  try {
    READ_USAGE[version](directory, read);
    return true;
  } catch {
    return false;
  }
}

/**
 * Reads the limit and the usage of one v2 cgroup (Documentation/admin-guide/cgroup-v2.rst). The rows of memory.stat
 * include all descendant groups. `memory.high` is treated as a limit like `memory.max`: above it, the kernel throttles
 * every thread of the group, including the event loop.
 */
function readUsageV2(directory: string, read: ReadFile): MemoryUsage | undefined {
  const limitBytes = Math.min(
    parseLimit(read(`${directory}/memory.max`)),
    parseLimit(tryRead(read, `${directory}/memory.high`) ?? 'max'),
  );
  if (limitBytes === Number.POSITIVE_INFINITY) return undefined;
  const rows = parseRows(read(`${directory}/memory.stat`));
  if (!rows.has('anon')) throw new Error(`${directory}/memory.stat: expected a row named anon`);
  const userBytes = sumRows(rows, ['anon', 'shmem', 'sock', 'hugetlb', 'file_dirty', 'file_writeback']);
  return { usedBytes: userBytes + kernelBytesV2(rows), limitBytes };
}

function kernelBytesV2(rows: ReadonlyMap<string, number>): number {
  const kernel = rows.get('kernel');
  if (kernel !== undefined) return Math.max(0, kernel - sumRows(rows, ['slab_reclaimable']));
  // Older kernels: the row `kernel` exists since Linux 5.18.
  return sumRows(rows, ['kernel_stack', 'pagetables', 'percpu', 'vmalloc', 'slab_unreclaimable']);
}

/**
 * Reads the limit and the usage of one v1 cgroup (Documentation/admin-guide/cgroup-v1/memory.rst). Rows with the prefix
 * `total_` include all descendant groups. Kernel memory and sockets do not count: they have no rows, and
 * `memory.kmem.usage_in_bytes` includes reclaimable slab. `hierarchical_memory_limit` is the smallest limit of this
 * group and all ancestors, including those above the mount point.
 */
function readUsageV1(directory: string, read: ReadFile): MemoryUsage | undefined {
  const rows = parseRows(read(`${directory}/memory.stat`));
  if (!rows.has('total_rss')) throw new Error(`${directory}/memory.stat: expected a row named total_rss`);
  const ownLimit = parseLimit(read(`${directory}/memory.limit_in_bytes`));
  return {
    usedBytes: sumRows(rows, ['total_rss', 'total_shmem', 'total_dirty', 'total_writeback']),
    limitBytes: Math.min(ownLimit, rows.get('hierarchical_memory_limit') ?? ownLimit),
  };
}

/**
 * Parses a number of bytes. Returns Infinity for `max`.
 *
 * @throws Error for any other text
 */
function parseLimit(text: string): number {
  const limit = text.trim();
  if (limit === 'max') return Number.POSITIVE_INFINITY;
  if (!/^\d+$/.test(limit)) throw new Error(`memory limit: expected a number of bytes or max, received ${limit}`);
  return Number(limit);
}

/**
 * Parses /proc/self/cgroup. Its lines are `hierarchy:controllers:path`. The line of v2 has hierarchy 0 and no
 * controllers. The path may contain colons.
 */
function parseGroups(text: string): { version: 1 | 2; path: string }[] {
  return text.split('\n').flatMap((line): { version: 1 | 2; path: string }[] => {
    const [, hierarchy, controllers, path] = /^(\d+):([^:]*):(\/.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) return [];
    if (hierarchy === '0' && controllers === '') return [{ version: 2, path }];
    return controllers.split(',').includes('memory') ? [{ version: 1, path }] : [];
  });
}

/**
 * Parses /proc/self/mountinfo. Its lines are `id parent device root mountpoint options optional... - type source
 * super-options`.
 */
function parseMounts(text: string): Mount[] {
  return text.split('\n').flatMap((line): Mount[] => {
    const [before = '', after = ''] = line.split(' - ');
    const [root, directory] = before.split(' ').slice(3, 5).map(unescapeOctal);
    const [type, , options = ''] = after.split(' ');
    if (root === undefined || directory === undefined) return [];
    if (type === 'cgroup2') return [{ version: 2, root, directory }];
    return type === 'cgroup' && options.split(',').includes('memory') ? [{ version: 1, root, directory }] : [];
  });
}

/** Decodes the octal escapes of mountinfo: space, tab, newline and backslash are written as `\040` and so on. */
export function unescapeOctal(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

/**
 * Returns the mounts of one version. Mounts that contain the group are first, sorted by the number of ancestors that
 * they show, most first.
 */
function mountsByDepth(mounts: readonly Mount[], version: 1 | 2, path: string): Mount[] {
  const rank = ({ root }: Mount) => (pathBelow(root, path) === undefined ? Number.POSITIVE_INFINITY : root.length);
  // Does not subtract the ranks, because Infinity - Infinity is NaN.
  const compare = (a: Mount, b: Mount) => (rank(a) === rank(b) ? 0 : rank(a) < rank(b) ? -1 : 1);
  return mounts.filter((mount) => mount.version === version).sort(compare);
}

/** Returns the rest of `path` below `root`: `''` for the same group, `undefined` if `path` is not below `root`. */
function pathBelow(root: string, path: string): string | undefined {
  const prefix = root === '/' ? '' : root;
  const rest = path === '/' ? '' : path;
  if (rest !== prefix && !rest.startsWith(`${prefix}/`)) return undefined;
  const tail = rest.slice(prefix.length);
  return tail.split('/').includes('..') ? undefined : tail;
}

/**
 * Returns the directories from the group up to the mount point. In a cgroup namespace, the group can be outside the
 * mount; its path or the root of the mount then contains `/..`. In that case only the mount point is visible, which is
 * an ancestor or the group of the container.
 */
function groupDirectories(mount: Mount, path: string): string[] {
  const base = mount.directory === '/' ? '' : mount.directory;
  let tail = pathBelow(mount.root, path) ?? '';
  const directories = [];
  for (; tail !== ''; tail = tail.slice(0, tail.lastIndexOf('/'))) directories.push(base + tail);
  return [...directories, base];
}

function tryRead(read: ReadFile, path: string): string | undefined {
  try {
    return read(path);
  } catch {
    return undefined;
  }
}
