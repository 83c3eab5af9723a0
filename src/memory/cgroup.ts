import { type MemoryUse, parseRows, type ReadFile, sumRows } from './sensor.js';

/** Where the memory controller keeps the books of this process. */
export interface MemoryCgroup {
  readonly version: 1 | 2;
  /** Directories whose limit can be read: the process's own group first, then its ancestors up to the mount. */
  readonly directories: readonly string[];
}

/**
 * The limits on the way up from this process's group. v2 levels without one are left out; on v1 they show up with a limit
 * near 2^63, which is how v1 writes "unlimited".
 */
export interface CgroupReading {
  readonly version: 1 | 2;
  readonly uses: readonly MemoryUse[];
}

interface Mount {
  readonly version: 1 | 2;
  /** The group that is mounted, as a path of the hierarchy. */
  readonly root: string;
  readonly directory: string;
}

/**
 * Finds the group that this process's memory is charged to, through /proc/self/cgroup and /proc/self/mountinfo
 * (proc(5), cgroups(7)). A controller lives in one hierarchy at a time, so whichever version has limit files on the way
 * up from the process's group is the one; on hybrid hosts v2 is mounted too, and has none.
 *
 * @returns undefined where no level has a limit that can be read, as in the root group of v2
 * @throws Error when one of the two files cannot be read
 */
export function findMemoryCgroup(read: ReadFile): MemoryCgroup | undefined {
  const groups = parseGroups(read('/proc/self/cgroup'));
  const mounts = parseMounts(read('/proc/self/mountinfo'));
  for (const { version, path } of groups) {
    for (const mount of bestFirst(mounts, version, path)) {
      const directories = levels(mount, path).filter((directory) => canUse(version, directory, read));
      if (directories.length > 0) return { version, directories };
    }
  }
  return undefined;
}

/**
 * A function that reads the limits and what is used of each. It looks for the group when it is first called, and once
 * more when a level that was there can no longer be read.
 *
 * The function never throws; it returns undefined where no group is found or none can be read.
 */
export function cgroupReader(read: ReadFile): () => CgroupReading | undefined {
  let cgroup: MemoryCgroup | undefined;
  let searched = false;
  const search = () => {
    // A group that was found before is kept when none is found now: it is tried again, and looked for again, next time.
    cgroup = findMemoryCgroup(read) ?? cgroup;
    searched = true;
  };
  const readAll = () => cgroup && { version: cgroup.version, uses: readUses(cgroup, read) };
  return () => {
    try {
      if (!searched) search();
      return readAll();
    } catch {
      // Moved, removed, or not what the kernel writes.
    }
    try {
      search();
      return readAll();
    } catch {
      return undefined;
    }
  };
}

/** One entry for each level that has a limit. @throws Error when a level cannot be read */
function readUses({ version, directories }: MemoryCgroup, read: ReadFile): MemoryUse[] {
  return directories.map((directory) => READ_USE[version](directory, read)).filter((use) => use !== undefined);
}

const READ_USE = { 1: readUseV1, 2: readUseV2 } as const;

/** A level that is hidden or broken is passed over: the limits of the others hold all the same. */
function canUse(version: 1 | 2, directory: string, read: ReadFile): boolean {
  try {
    READ_USE[version](directory, read);
    return true;
  } catch {
    return false;
  }
}

/**
 * v2 (Documentation/admin-guide/cgroup-v2.rst). Rows cover the group and all below it. `memory.high` is a limit like
 * `memory.max`: above it the kernel puts every thread of the group to sleep, the event loop too.
 */
function readUseV2(directory: string, read: ReadFile): MemoryUse | undefined {
  const limitBytes = Math.min(
    parseLimit(read(`${directory}/memory.max`)),
    parseLimit(tryRead(read, `${directory}/memory.high`) ?? 'max'),
  );
  if (limitBytes === Number.POSITIVE_INFINITY) return undefined;
  const rows = parseRows(read(`${directory}/memory.stat`));
  if (!rows.has('anon')) throw new Error(`${directory}/memory.stat lacks anon`);
  const held = sumRows(rows, ['anon', 'shmem', 'sock', 'hugetlb', 'file_dirty', 'file_writeback']);
  return { usedBytes: held + heldByKernelV2(rows), limitBytes };
}

function heldByKernelV2(rows: ReadonlyMap<string, number>): number {
  const kernel = rows.get('kernel');
  if (kernel !== undefined) return Math.max(0, kernel - sumRows(rows, ['slab_reclaimable']));
  // Before Linux 5.18 there is no such row.
  return sumRows(rows, ['kernel_stack', 'pagetables', 'percpu', 'vmalloc', 'slab_unreclaimable']);
}

/**
 * v1 (Documentation/admin-guide/cgroup-v1/memory.rst). `total_` rows cover the groups below as well. There are no rows
 * for kernel memory and sockets, and `memory.kmem.usage_in_bytes` counts reclaimable slab: both stay out.
 * `hierarchical_memory_limit` is the smallest limit from here up, ancestors beyond the mount included.
 */
function readUseV1(directory: string, read: ReadFile): MemoryUse | undefined {
  const rows = parseRows(read(`${directory}/memory.stat`));
  if (!rows.has('total_rss')) throw new Error(`${directory}/memory.stat lacks total_rss`);
  const ownLimit = parseLimit(read(`${directory}/memory.limit_in_bytes`));
  return {
    usedBytes: sumRows(rows, ['total_rss', 'total_shmem', 'total_dirty', 'total_writeback']),
    limitBytes: Math.min(ownLimit, rows.get('hierarchical_memory_limit') ?? ownLimit),
  };
}

/** Bytes, or Infinity for `max`. @throws Error for anything else */
function parseLimit(text: string): number {
  const limit = text.trim();
  if (limit === 'max') return Number.POSITIVE_INFINITY;
  if (!/^\d+$/.test(limit)) throw new Error(`not a memory limit: ${limit}`);
  return Number(limit);
}

/** Lines are `hierarchy:controllers:path`; v2 is hierarchy 0 without controllers. The path may hold colons. */
function parseGroups(text: string): { version: 1 | 2; path: string }[] {
  return text.split('\n').flatMap((line): { version: 1 | 2; path: string }[] => {
    const [, hierarchy, controllers, path] = /^(\d+):([^:]*):(\/.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) return [];
    if (hierarchy === '0' && controllers === '') return [{ version: 2, path }];
    return controllers.split(',').includes('memory') ? [{ version: 1, path }] : [];
  });
}

/** Lines are `id parent device root mountpoint options optional... - type source super-options`. */
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

/** mountinfo writes space, tab, newline and backslash as `\040` and so on. */
export function unescapeOctal(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

/** Mounts that hold the group before those that do not, and among them the one that shows the most ancestors. */
function bestFirst(mounts: readonly Mount[], version: 1 | 2, path: string): Mount[] {
  const rank = ({ root }: Mount) => (below(root, path) === undefined ? Number.POSITIVE_INFINITY : root.length);
  // Not a subtraction: Infinity - Infinity is not a number.
  const compare = (a: Mount, b: Mount) => (rank(a) === rank(b) ? 0 : rank(a) < rank(b) ? -1 : 1);
  return mounts.filter((mount) => mount.version === version).sort(compare);
}

/** The rest of `path` under `root`, `''` for the same group, or undefined where it does not lie below. */
function below(root: string, path: string): string | undefined {
  const prefix = root === '/' ? '' : root;
  const rest = path === '/' ? '' : path;
  if (rest !== prefix && !rest.startsWith(`${prefix}/`)) return undefined;
  const tail = rest.slice(prefix.length);
  return tail.split('/').includes('..') ? undefined : tail;
}

/**
 * The directories from the group up to the mount. With cgroup namespaces the group may lie outside the mount (a root or
 * a path of `/..`): then the mount itself is all there is to see, an ancestor or what the container was given.
 */
function levels(mount: Mount, path: string): string[] {
  const base = mount.directory === '/' ? '' : mount.directory;
  let tail = below(mount.root, path) ?? '';
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
