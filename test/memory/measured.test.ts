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

/** Returns a provider over a fixture tree with a clock that the test sets. */
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

test('v2: derives the figures and the level from the limit of the cgroup', (t) => {
  const { pressure } = provider(t, v2Host('/', v2Group(V2, 1 * GIB, 800 * MIB)));
  t.is(pressure.sensor, 'cgroup v2');
  t.is(pressure.level, 'constrained');
  t.is(pressure.limitBytes, 1 * GIB);
  t.is(pressure.usedBytes, 800 * MIB);
  t.is(pressure.headroomBytes, Math.floor(0.15 * GIB));
});

test('the limit with the highest share in use decides the level, the smallest limit the headroom', (t) => {
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

test('roomBytes is the distance to the soft watermark of the limit that leaves the least', (t) => {
  const soft = (limit: number) => Math.floor(0.7 * limit);
  const own = v2Group(`${V2}/pod/box`, 1 * GIB, 100 * MIB);
  const large = provider(t, v2Host('/pod/box', { ...v2Group(`${V2}/pod`, 64 * GIB, 1 * GIB), ...own })).pressure;
  t.is(large.roomBytes, soft(1 * GIB) - 100 * MIB);
  // A larger share of the parent is in use, but it has more bytes left.
  const parent = v2Group(`${V2}/pod`, 8 * GIB, 4 * GIB);
  const busy = provider(t, v2Host('/pod/box', { ...parent, ...own })).pressure;
  t.is(busy.limitBytes, 8 * GIB);
  t.is(busy.roomBytes, soft(1 * GIB) - 100 * MIB);
  t.is(provider(t, v2Host('/', v2Group(V2, 1 * GIB, 800 * MIB))).pressure.roomBytes, 0);
  t.is(
    provider(t, {}).pressure.roomBytes,
    soft(8 * GIB) - 1 * GIB,
    'without cgroups and /proc, the figures of Node count',
  );
});

test('v1 and hybrid hosts: derives the figures and the level from v1', (t) => {
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

test('measures the machine if no limit is below physical memory', (t) => {
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

test('uses the figures of Node if no file can be read, and reports constrained if these fail too', (t) => {
  const { pressure } = provider(t, {});
  t.like(pressure, { sensor: 'os', level: 'normal', limitBytes: 8 * GIB, usedBytes: 1 * GIB });

  const fail = () => {
    throw new Error('unreadable');
  };
  const unmeasured = measuredMemoryPressure({ read: fail, readOs: fail, now: () => 0 }, DEFAULT_WATERMARKS);
  t.like(unmeasured, { sensor: 'none', level: 'constrained', limitBytes: 0, usedBytes: 0, headroomBytes: 64 * MIB });
});

test('the level is normal when clean page cache fills the limit', (t) => {
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

test('a level begins at its watermark and ends a tenth below it', (t) => {
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

test('takes one sample for all properties, and a new one only after 200 ms', (t) => {
  const { pressure, tree, clock } = provider(t, v2Host('/', v2Group(V2, 1 * GIB, 0)));
  t.deepEqual(tree.reads, [], 'no read at construction');
  t.is(pressure.level, 'normal');
  const reads = tree.reads.length;
  tree.write(v2Group(V2, 1 * GIB, 1 * GIB));

  clock.now = 200;
  t.like(pressure, { level: 'normal', usedBytes: 0, limitBytes: 1 * GIB, sensor: 'cgroup v2' });
  t.is(tree.reads.length, reads);

  clock.now = 200.5;
  t.is(pressure.headroomBytes, Math.floor(0.15 * GIB));
  t.like(pressure, { level: 'critical', usedBytes: 1 * GIB });
  t.is(tree.reads.length, reads + 3, 'one read each of memory.max, memory.high and memory.stat');
});

test('follows a limit that changes while the process runs', (t) => {
  const { pressure, tree, clock } = provider(t, v2Host('/', v2Group(V2, 1 * GIB, 900 * MIB)));
  t.is(pressure.level, 'critical');
  tree.write(v2Group(V2, 2 * GIB, 900 * MIB));
  clock.now = 201;
  t.like(pressure, { level: 'normal', limitBytes: 2 * GIB });
});

test('falls back to the next sensor while one is missing or malformed, and returns to it afterwards', (t) => {
  const files = v2Host('/', v2Group(V2, 1 * GIB, 0));
  const failures: readonly ((tree: HostTree) => void)[] = [
    (tree) => tree.remove(V2),
    (tree) => tree.write({ [`${V2}/memory.stat`]: '' }),
    (tree) => tree.write({ [`${V2}/memory.max`]: 'x' }),
  ];
  for (const fail of failures) {
    const { pressure, tree, clock } = provider(t, files);
    t.is(pressure.sensor, 'cgroup v2');
    fail(tree);
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

test('reading never throws and returns finite numbers, for any content of the files', (t) => {
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

test('applies custom watermarks', (t) => {
  const files = v2Host('/', v2Group(V2, 2 * GIB, 1 * GIB));
  t.is(provider(t, files, { softRatio: 0.5, hardRatio: 0.85 }).pressure.level, 'constrained');
  const { pressure } = provider(t, files, { softRatio: 0.4, hardRatio: 0.5 });
  t.is(pressure.level, 'critical');
  t.is(pressure.headroomBytes, Math.floor((0.5 - 0.4) * 2 * GIB));
});

test('a limit of 0 is critical', (t) => {
  t.is(provider(t, v2Host('/', v2Group(V2, 0, 0))).pressure.level, 'critical');
});
