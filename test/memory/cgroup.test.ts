import test from 'ava';
import { cgroupReader, findMemoryCgroup } from '../../src/memory/cgroup.js';
import {
  GIB,
  hostTree,
  MIB,
  proc,
  stat,
  V1_UNLIMITED,
  v1Group,
  v1Mount,
  v1Stat,
  v2Group,
  v2Mount,
  v2Stat,
} from './fixture.js';

const V2 = '/sys/fs/cgroup';
const V1 = '/sys/fs/cgroup/memory';

test('v2: finds the cgroup of the process and every ancestor with a limit file', (t) => {
  const slice = `${V2}/system.slice`;
  const service = `${slice}/cache.service`;
  const tree = hostTree(t, {
    ...proc('0::/system.slice/cache.service\n', v2Mount()),
    // The root cgroup has statistics but no limit file.
    [`${V2}/memory.stat`]: v2Stat(9 * GIB),
    ...v2Group(slice, 4 * GIB, 3 * GIB),
    ...v2Group(service, 1 * GIB, 100 * MIB),
  });
  t.deepEqual(findMemoryCgroup(tree.read), { version: 2, directories: [service, slice] });
  t.deepEqual(cgroupReader(tree.read)(), {
    version: 2,
    usages: [
      { usedBytes: 100 * MIB, limitBytes: 1 * GIB },
      { usedBytes: 3 * GIB, limitBytes: 4 * GIB },
    ],
  });
});

test('v2: skips levels without the memory controller or without a limit', (t) => {
  const tree = hostTree(t, {
    ...proc('0::/user.slice/app.scope/worker\n', v2Mount()),
    ...v2Group(`${V2}/user.slice`, 2 * GIB, 5 * MIB),
    ...v2Group(`${V2}/user.slice/app.scope`, 'max', 4 * MIB),
  });
  t.deepEqual(cgroupReader(tree.read)(), { version: 2, usages: [{ usedBytes: 5 * MIB, limitBytes: 2 * GIB }] });
});

test('v2: counts unreclaimable memory, without clean file pages and reclaimable slab', (t) => {
  const rows = {
    anon: 1,
    file: 10 ** 12,
    kernel: 5_000_010,
    kernel_stack: 3,
    pagetables: 3,
    slab_reclaimable: 5_000_000,
    slab_unreclaimable: 3,
    shmem: 100,
    sock: 1_000,
    file_mapped: 10 ** 12,
    file_dirty: 10_000,
    file_writeback: 100_000,
    active_file: 10 ** 12,
    unevictable: 10 ** 12,
  };
  const files = { ...proc('0::/\n', v2Mount()), ...v2Group(V2, GIB, 0), [`${V2}/memory.stat`]: stat(rows) };
  t.is(cgroupReader(hostTree(t, files).read)()?.usages[0]?.usedBytes, 111_111);
});

test('v2: sums the parts of kernel memory before Linux 5.18', (t) => {
  const rows = { anon: 1, kernel_stack: 20, pagetables: 300, percpu: 4_000, slab_unreclaimable: 50_000, slab: 10 ** 9 };
  const files = { ...proc('0::/\n', v2Mount()), ...v2Group(V2, GIB, 0), [`${V2}/memory.stat`]: stat(rows) };
  t.is(cgroupReader(hostTree(t, files).read)()?.usages[0]?.usedBytes, 54_321);
});

test('v2: treats memory.high as a limit', (t) => {
  const files = { ...proc('0::/\n', v2Mount()), ...v2Group(V2, GIB, 0), [`${V2}/memory.high`]: `${800 * MIB}\n` };
  t.is(cgroupReader(hostTree(t, files).read)()?.usages[0]?.limitBytes, 800 * MIB);
});

test('v1: counts the hierarchical rows, and uses the smallest limit of the cgroup and its ancestors', (t) => {
  const own = `${V1}/docker/abc`;
  const tree = hostTree(t, {
    ...proc('5:cpu,cpuacct:/\n4:memory:/docker/abc\n1:name=systemd:/docker/abc\n', v1Mount()),
    ...v1Group(V1, V1_UNLIMITED, 0),
    ...v1Group(`${V1}/docker`, V1_UNLIMITED, 0),
    [`${own}/memory.limit_in_bytes`]: `${512 * MIB}\n`,
    [`${own}/memory.stat`]: v1Stat(1, {
      hierarchical_memory_limit: 256 * MIB,
      total_rss: 1,
      total_cache: 10 ** 12,
      total_shmem: 20,
      total_mapped_file: 10 ** 12,
      total_dirty: 300,
      total_writeback: 4_000,
      shmem: 10 ** 12,
      dirty: 10 ** 12,
    }),
  });
  const cgroup = findMemoryCgroup(tree.read);
  t.deepEqual(cgroup, { version: 1, directories: [own, `${V1}/docker`, V1] });
  t.deepEqual(cgroupReader(tree.read)()?.usages[0], { usedBytes: 4_321, limitBytes: 256 * MIB });
});

test('v1: finds the cgroup of a container whose mount shows only this cgroup', (t) => {
  const tree = hostTree(t, {
    ...proc('4:memory:/docker/abc\n', v1Mount('/docker/abc')),
    ...v1Group(V1, 300 * MIB, 7),
  });
  t.deepEqual(findMemoryCgroup(tree.read), { version: 1, directories: [V1] });
});

test('v1: finds the memory controller in a mount that it shares with others', (t) => {
  const directory = '/sys/fs/cgroup/cpu,memory';
  const tree = hostTree(t, {
    ...proc('4:cpu,memory:/a\n', v1Mount('/', directory, 'cpu,memory')),
    ...v1Group(`${directory}/a`, 300 * MIB, 7),
  });
  t.deepEqual(findMemoryCgroup(tree.read), { version: 1, directories: [`${directory}/a`] });
});

for (const [name, v2Directory] of [
  ['unified', '/sys/fs/cgroup/unified'],
  ['elsewhere', '/run/cgroup2'],
] as const) {
  test(`hybrid: uses v1 for memory while v2 is mounted (${name})`, (t) => {
    const tree = hostTree(t, {
      // The order of the lines is not specified: here v2 comes first in both files.
      ...proc('0::/job\n4:memory:/job\n', v2Mount('/', v2Directory) + v1Mount()),
      [`${v2Directory}/job/cgroup.procs`]: '1\n',
      ...v1Group(`${V1}/job`, 300 * MIB, 7),
    });
    t.deepEqual(findMemoryCgroup(tree.read), { version: 1, directories: [`${V1}/job`] });
  });
}

test('hybrid: uses v2 for memory while v1 is mounted for other controllers', (t) => {
  const unified = '/sys/fs/cgroup/unified';
  const tree = hostTree(t, {
    ...proc('4:cpu:/job\n0::/job\n', v1Mount('/', '/sys/fs/cgroup/cpu', 'cpu') + v2Mount('/', unified)),
    ...v2Group(`${unified}/job`, 300 * MIB, 7),
  });
  t.deepEqual(findMemoryCgroup(tree.read), { version: 2, directories: [`${unified}/job`] });
});

const NAMESPACES: readonly (readonly [name: string, path: string, root: string, directories: readonly string[]])[] = [
  ['the cgroup is the root of the namespace and of the mount', '/', '/', [V2]],
  ['the cgroup is below the root of the namespace', '/worker', '/', [`${V2}/worker`, V2]],
  ['the mount was made outside the namespace and shows ancestors', '/', '/../..', [V2]],
  ['mount and cgroup are siblings of the namespace root', '/../worker', '/..', [`${V2}/worker`, V2]],
  ['the cgroup is above the namespace root', '/../..', '/', [V2]],
  ['the cgroup is a sibling of the mount', '/../worker', '/', [V2]],
  ['the path is that of the host and the mount shows the container', '/kubepods/pod1/c1', '/kubepods/pod1/c1', [V2]],
  ['the mount is a bind mount of an ancestor', '/kubepods/pod1/worker', '/kubepods/pod1', [`${V2}/worker`, V2]],
  ['the root of the mount is a prefix of the path, but not an ancestor', '/kubepods/pod10', '/kubepods/pod1', [V2]],
];
for (const [name, path, root, directories] of NAMESPACES) {
  test(`namespaces: ${name}`, (t) => {
    const tree = hostTree(t, {
      ...proc(`0::${path}\n`, v2Mount(root)),
      ...v2Group(V2, GIB, 7),
      ...v2Group(`${V2}/worker`, GIB, 7),
      // Siblings of the mount and of the cgroup, which must not be read.
      ...v2Group('/sys/fs/worker', GIB, 7),
      ...v2Group(`${V2}0`, GIB, 7),
    });
    t.deepEqual(findMemoryCgroup(tree.read)?.directories, directories);
  });
}

test('uses the mount that shows the most ancestors, in any order of the mounts', (t) => {
  const files = { ...v2Group('/all/a', GIB, 1), ...v2Group('/all/a/b', GIB, 1), ...v2Group('/own', GIB, 1) };
  const mounts = [v2Mount('/a/b', '/own'), v2Mount('/x', '/unrelated'), v2Mount('/', '/all')];
  for (const order of [mounts, mounts.toReversed()]) {
    const tree = hostTree(t, { ...files, ...proc('0::/a/b\n', order.join('')), ...v2Group('/unrelated', GIB, 1) });
    t.deepEqual(findMemoryCgroup(tree.read)?.directories, ['/all/a/b', '/all/a']);
  }
});

test('uses the next mount if one cannot be read', (t) => {
  const tree = hostTree(t, {
    ...proc('0::/a\n', v2Mount('/', '/hidden') + v2Mount('/a', '/own')),
    ...v2Group('/own', GIB, 1),
  });
  t.deepEqual(findMemoryCgroup(tree.read)?.directories, ['/own']);
});

test('parses spaces in a mount point and colons in a path', (t) => {
  const tree = hostTree(t, {
    ...proc('0::/a:b c\n', v2Mount('/', '/mnt/my\\040groups')),
    ...v2Group('/mnt/my groups/a:b c', GIB, 1),
  });
  t.deepEqual(findMemoryCgroup(tree.read)?.directories, ['/mnt/my groups/a:b c']);
});

test('finds nothing if no cgroup has a limit file', (t) => {
  t.is(findMemoryCgroup(hostTree(t, proc('0::/\n', v2Mount())).read), undefined);
  t.is(findMemoryCgroup(hostTree(t, proc('', '')).read), undefined);
});
