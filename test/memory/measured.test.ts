import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { DEFAULT_WATERMARKS, type MemoryPressureLevel } from '../../src/memory/level.js';
import { measuredMemoryPressure } from '../../src/memory/measured.js';
import {
  GIB,
  type HostTree,
  hostTree,
  MIB,
  meminfo,
  proc,
  V1_UNLIMITED,
  v1Group,
  v1Mount,
  v2Group,
  v2Mount,
  v2Stat,
} from './fixture.js';

const V2 = '/sys/fs/cgroup';
const V1 = '/sys/fs/cgroup/memory';
const OS_USE = { usedBytes: 1 * GIB, limitBytes: 8 * GIB };

/** A provider over a fixture tree, whose clock moves only when it is told to. */
function provider(t: ExecutionContext, files: Record<string, string>, watermarks = DEFAULT_WATERMARKS) {
  const tree = hostTree(t, files);
  const clock = { now: 0 };
  const pressure = measuredMemoryPressure({ read: tree.read, readOs: () => OS_USE, now: () => clock.now }, watermarks);
  return { pressure, tree, clock };
}

const v2Host = (path: string, groups: Record<string, string>) => ({
  ...proc(`0::${path}\n`, v2Mount()),
  '/proc/meminfo': meminfo(16 * GIB, { AnonPages: 15 * GIB }),
  ...groups,
});

test('v2: figures and level come from the limit of the group', (t) => {
  const { pressure } = provider(t, v2Host('/', v2Group(V2, 1 * GIB, 800 * MIB)));
  t.is(pressure.sensor, 'cgroup v2');
  t.is(pressure.level, 'constrained');
  t.is(pressure.limitBytes, 1 * GIB);
  t.is(pressure.usedBytes, 800 * MIB);
  t.is(pressure.headroomBytes, Math.floor(0.15 * GIB));
});

test('the nearest limit decides, and the pool fits the smallest', (t) => {
  const own = { limit: 1 * GIB, used: 100 * MIB };
  const parent = { limit: 2 * GIB, used: 1800 * MIB };
  const { pressure } = provider(
    t,
    v2Host('/pod/box', {
      ...v2Group(`${V2}/pod`, parent.limit, parent.used),
      ...v2Group(`${V2}/pod/box`, own.limit, own.used),
    }),
  );
  t.is(pressure.level, 'critical');
  t.is(pressure.limitBytes, parent.limit);
  t.is(pressure.usedBytes, parent.used);
  t.is(pressure.headroomBytes, Math.floor(0.15 * own.limit));
});

test('room is what the soft watermark leaves, of the limit where that is least', (t) => {
  const soft = (limit: number) => Math.floor(0.7 * limit);
  const own = v2Group(`${V2}/pod/box`, 1 * GIB, 100 * MIB);
  const large = provider(t, v2Host('/pod/box', { ...v2Group(`${V2}/pod`, 64 * GIB, 1 * GIB), ...own })).pressure;
  t.is(large.roomBytes, soft(1 * GIB) - 100 * MIB);
  // The parent is the nearer one, and has more room all the same.
  const parent = v2Group(`${V2}/pod`, 8 * GIB, 4 * GIB);
  const busy = provider(t, v2Host('/pod/box', { ...parent, ...own })).pressure;
  t.is(busy.limitBytes, 8 * GIB);
  t.is(busy.roomBytes, soft(1 * GIB) - 100 * MIB);
  t.is(provider(t, v2Host('/', v2Group(V2, 1 * GIB, 800 * MIB))).pressure.roomBytes, 0);
  t.is(provider(t, {}).pressure.roomBytes, soft(8 * GIB) - 1 * GIB, 'what Node says, where nothing else does');
});

test('v1 and hybrid hosts: figures and level come from v1', (t) => {
  for (const mounts of [v1Mount(), v2Mount('/', '/sys/fs/cgroup/unified') + v1Mount()]) {
    const { pressure } = provider(t, {
      ...proc('4:memory:/job\n0::/job\n', mounts),
      '/proc/meminfo': meminfo(16 * GIB),
      ...v1Group(V1, V1_UNLIMITED, 12 * GIB),
      ...v1Group(`${V1}/job`, 1 * GIB, 900 * MIB),
    });
    t.is(pressure.sensor, 'cgroup v1');
    t.is(pressure.level, 'critical');
    t.is(pressure.limitBytes, 1 * GIB);
    t.is(pressure.usedBytes, 900 * MIB);
  }
});

test('no limit below physical memory: the machine is measured', (t) => {
  const machine = { '/proc/meminfo': meminfo(16 * GIB, { AnonPages: 12 * GIB }) };
  const v1 = proc('4:memory:/\n', v1Mount());
  for (const files of [
    v2Host('/', v2Group(V2, 'max', GIB)),
    v2Host('/', v2Group(V2, 17 * GIB, GIB)),
    { ...v1, ...v1Group(V1, V1_UNLIMITED, GIB) },
    {},
  ]) {
    const { pressure } = provider(t, { ...files, ...machine });
    t.is(pressure.sensor, 'meminfo');
    t.is(pressure.level, 'constrained');
    t.is(pressure.limitBytes, 16 * GIB);
    t.is(pressure.usedBytes, 12 * GIB);
    t.is(pressure.headroomBytes, 512 * MIB);
  }
});

test('nothing to read: Node is asked, and without an answer the level is constrained', (t) => {
  const { pressure } = provider(t, {});
  t.like(pressure, { sensor: 'os', level: 'normal', limitBytes: 8 * GIB, usedBytes: 1 * GIB });

  const fail = () => {
    throw new Error('no');
  };
  const blind = measuredMemoryPressure({ read: fail, readOs: fail, now: () => 0 }, DEFAULT_WATERMARKS);
  t.like(blind, { sensor: 'none', level: 'constrained', limitBytes: 0, usedBytes: 0, headroomBytes: 64 * MIB });
});

test('clean page cache up to the limit is normal', (t) => {
  const { pressure } = provider(
    t,
    v2Host('/', {
      ...v2Group(V2, 1 * GIB, 0),
      [`${V2}/memory.current`]: `${1 * GIB}\n`,
      [`${V2}/memory.stat`]: v2Stat(50 * MIB, { file: 970 * MIB, active_file: 970 * MIB, file_mapped: 500 * MIB }),
    }),
  );
  t.is(pressure.level, 'normal');
  t.is(pressure.usedBytes, 50 * MIB);
});

test('the level rises at a watermark and falls a tenth below it', (t) => {
  const limit = 1000 * MIB;
  const { pressure, tree, clock } = provider(t, v2Host('/', v2Group(V2, limit, 0)));
  const steps: readonly (readonly [usedMib: number, level: MemoryPressureLevel])[] = [
    [699, 'normal'],
    [700, 'constrained'],
    [631, 'constrained'],
    [629, 'normal'],
    [699, 'normal'],
    [850, 'critical'],
    [766, 'critical'],
    [764, 'constrained'],
    [849, 'constrained'],
    [850, 'critical'],
    [631, 'constrained'],
    [851, 'critical'],
    [629, 'normal'],
  ];
  for (const [usedMib, level] of steps) {
    tree.write(v2Group(V2, limit, usedMib * MIB));
    clock.now += 201;
    t.is(pressure.level, level, `${usedMib} MiB`);
  }
});

test('a new sample is taken only when the last is older than 200 ms, for all properties together', (t) => {
  const { pressure, tree, clock } = provider(t, v2Host('/', v2Group(V2, 1 * GIB, 0)));
  t.deepEqual(tree.reads, [], 'nothing is read at construction');
  t.is(pressure.level, 'normal');
  const reads = tree.reads.length;
  tree.write(v2Group(V2, 1 * GIB, 1 * GIB));

  clock.now = 200;
  t.like(pressure, { level: 'normal', usedBytes: 0, limitBytes: 1 * GIB, sensor: 'cgroup v2' });
  t.is(tree.reads.length, reads);

  clock.now = 200.5;
  t.is(pressure.headroomBytes, Math.floor(0.15 * GIB));
  t.like(pressure, { level: 'critical', usedBytes: 1 * GIB });
  t.is(tree.reads.length, reads + 3, 'max, high and stat, once');
});

test('a limit that changes while the process runs is followed', (t) => {
  const { pressure, tree, clock } = provider(t, v2Host('/', v2Group(V2, 1 * GIB, 900 * MIB)));
  t.is(pressure.level, 'critical');
  tree.write(v2Group(V2, 2 * GIB, 900 * MIB));
  clock.now = 201;
  t.like(pressure, { level: 'normal', limitBytes: 2 * GIB });
});

test('sensors that vanish or turn to garbage while the process runs: the next one answers, then the first again', (t) => {
  const files = v2Host('/', v2Group(V2, 1 * GIB, 0));
  const breaks: readonly ((tree: HostTree) => void)[] = [
    (tree) => tree.remove(V2),
    (tree) => tree.write({ [`${V2}/memory.stat`]: '' }),
    (tree) => tree.write({ [`${V2}/memory.max`]: 'x' }),
  ];
  for (const breakIt of breaks) {
    const { pressure, tree, clock } = provider(t, files);
    t.is(pressure.sensor, 'cgroup v2');
    breakIt(tree);
    clock.now += 201;
    t.like(pressure, { sensor: 'meminfo', level: 'critical' });
    tree.write({ '/proc/meminfo': 'x' });
    clock.now += 201;
    t.like(pressure, { sensor: 'os', level: 'normal' });
    tree.write(files);
    clock.now += 201;
    t.like(pressure, { sensor: 'cgroup v2', level: 'normal' });
  }
});

test('whatever the files hold, reading never throws and gives numbers', (t) => {
  const paths = ['/proc/self/cgroup', '/proc/self/mountinfo', '/proc/meminfo', '/m/memory.max', '/m/memory.stat'];
  const text = fc.oneof(
    fc.string(),
    fc.constantFrom('0::/\n', v2Mount('/', '/m'), meminfo(GIB), '0', 'max', '99', v2Stat(5), 'anon 9', '4:memory:/'),
  );
  fc.assert(
    fc.property(fc.array(text, { minLength: 5, maxLength: 5 }), (texts) => {
      const read = (path: string) => {
        const found = texts[paths.indexOf(path)];
        if (found === undefined) throw new Error('ENOENT');
        return found;
      };
      const { level, headroomBytes, limitBytes, usedBytes } = measuredMemoryPressure(
        { read, readOs: () => OS_USE, now: () => 0 },
        DEFAULT_WATERMARKS,
      );
      t.true(['normal', 'constrained', 'critical'].includes(level));
      for (const number of [headroomBytes, limitBytes, usedBytes]) t.true(Number.isFinite(number) && number >= 0);
    }),
    { numRuns: 500 },
  );
});

test('other watermarks', (t) => {
  const files = v2Host('/', v2Group(V2, 2 * GIB, 1 * GIB));
  t.is(provider(t, files, { softRatio: 0.5, hardRatio: 0.85 }).pressure.level, 'constrained');
  const { pressure } = provider(t, files, { softRatio: 0.4, hardRatio: 0.5 });
  t.is(pressure.level, 'critical');
  t.is(pressure.headroomBytes, Math.floor((0.5 - 0.4) * 2 * GIB));
});

test('a limit of 0 is always full', (t) => {
  t.is(provider(t, v2Host('/', v2Group(V2, 0, 0))).pressure.level, 'critical');
});
