import os from 'node:os';
import test from 'ava';
import { systemMemoryPressure } from '../../src/memory/pressure.js';
import { MIB } from './fixture.js';

// test/faults/pressure.test.ts measures a cgroup that fills up.
test('measures this machine with plausible figures', (t) => {
  const { sensor, limitBytes, usedBytes, headroomBytes, level } = systemMemoryPressure();
  t.log(`${sensor}: ${level}, ${Math.round(usedBytes / MIB)} of ${Math.round(limitBytes / MIB)} MiB`);
  const sensors = process.platform === 'linux' ? ['cgroup v2', 'cgroup v1', 'meminfo'] : ['os'];
  t.true(sensors.includes(sensor));
  t.true(limitBytes > 32 * MIB && limitBytes <= os.totalmem());
  t.true(usedBytes > 1 * MIB && usedBytes < limitBytes);
  t.true(headroomBytes >= 64 * MIB && headroomBytes <= 512 * MIB);
});
