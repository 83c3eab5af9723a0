import test from 'ava';
import { cgroupReader } from '../../src/memory/cgroup.js';
import { GIB, hostTree, proc, v1Group, v1Mount, v2Group, v2Mount } from './fixture.js';

const V2 = '/sys/fs/cgroup';
const V1 = '/sys/fs/cgroup/memory';

test('finds the new cgroup of a process whose cgroup was removed, and reads one that reappears', (t) => {
  const tree = hostTree(t, { ...proc('0::/old\n', v2Mount()), ...v2Group(`${V2}/old`, GIB, 1) });
  const read = cgroupReader(tree.read);
  t.is(read()?.usages[0]?.usedBytes, 1);

  tree.remove(`${V2}/old`);
  tree.write({ '/proc/self/cgroup': '0::/new\n', ...v2Group(`${V2}/new`, GIB, 2) });
  t.is(read()?.usages[0]?.usedBytes, 2);

  tree.remove(V2);
  t.is(read(), undefined);
  tree.write(v2Group(`${V2}/new`, GIB, 3));
  t.is(read()?.usages[0]?.usedBytes, 3);
});

test('reads the limit of the cgroup if an ancestor is unreadable or becomes malformed', (t) => {
  const own = `${V2}/pod/box`;
  const tree = hostTree(t, {
    ...proc('0::/pod/box\n', v2Mount()),
    ...v2Group(own, GIB, 1),
    ...v2Group(`${V2}/pod`, GIB, 2),
    [`${V2}/memory.max`]: 'max\n',
  });
  const read = cgroupReader(tree.read);
  t.is(read()?.usages.length, 2);
  tree.write({ [`${V2}/pod/memory.stat`]: '' });
  t.deepEqual(read()?.usages, [{ usedBytes: 1, limitBytes: GIB }]);
});

test('searches for the cgroup once', (t) => {
  const tree = hostTree(t, { ...proc('0::/\n', v2Mount()), ...v2Group(V2, GIB, 1) });
  const read = cgroupReader(tree.read);
  t.is(tree.reads.length, 0);
  for (let i = 0; i < 5; i++) read();
  t.is(tree.reads.filter((path) => path === '/proc/self/mountinfo').length, 1);
});

test('returns undefined for malformed files', (t) => {
  const good = { ...proc('0::/\n', v2Mount()), ...v2Group(V2, GIB, 1) };
  const v1 = { ...proc('4:memory:/\n', v1Mount()), ...v1Group(V1, GIB, 1) };
  const garbage = ['', '\0\0\0', 'max max', '-1', '1e9', 'anon', 'anon x\n', '0::\n', ': - :\n', '  -  \n'.repeat(50)];
  for (const [base, paths] of [
    [good, ['/proc/self/cgroup', '/proc/self/mountinfo', `${V2}/memory.max`, `${V2}/memory.high`, `${V2}/memory.stat`]],
    [v1, ['/proc/self/cgroup', '/proc/self/mountinfo', `${V1}/memory.limit_in_bytes`, `${V1}/memory.stat`]],
  ] as const) {
    t.not(cgroupReader(hostTree(t, base).read)(), undefined);
    for (const path of paths) {
      const tree = hostTree(t, base);
      for (const text of garbage) {
        tree.write({ [path]: text });
        t.is(cgroupReader(tree.read)(), undefined, `${path}: ${JSON.stringify(text)}`);
      }
    }
  }
});
