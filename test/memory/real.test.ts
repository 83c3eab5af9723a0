import { type ChildProcess, fork } from 'node:child_process';
import { on, once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import test, { type ExecutionContext } from 'ava';
import { type SystemMemoryPressure, systemMemoryPressure } from '../../src/memory/pressure.js';
import { MIB } from './fixture.js';
import type { Command } from './real-child.js';

const LIMIT_MIB = 256;

test('this machine has a sensor, and its figures are plausible', (t) => {
  const { sensor, limitBytes, usedBytes, headroomBytes, level } = systemMemoryPressure();
  t.log(`${sensor}: ${level}, ${Math.round(usedBytes / MIB)} of ${Math.round(limitBytes / MIB)} MiB`);
  const sensors = process.platform === 'linux' ? ['cgroup v2', 'cgroup v1', 'meminfo'] : ['os'];
  t.true(sensors.includes(sensor));
  t.true(limitBytes > 32 * MIB && limitBytes <= os.totalmem());
  t.true(usedBytes > 1 * MIB && usedBytes < limitBytes);
  t.true(headroomBytes >= 64 * MIB && headroomBytes <= 512 * MIB);
});

test('in a real cgroup: clean cache fills the limit and is normal, anonymous memory raises the level and lowers it', async (t) => {
  const group = makeCgroup(t);
  if (!group) {
    t.log('no cgroup can be made here: only the sensor was checked');
    t.not(process.env['CI'], 'true', 'nothing is left out there');
    return;
  }
  // Holes: reading them fills the page cache without a disk. Not in tmpdir(), which may be a tmpfs: that caches no holes.
  const file = `/var/tmp/hotblob-memory-${process.pid}`;
  writeFileSync(file, '');
  truncateSync(file, 400 * MIB);
  t.teardown(() => rmSync(file));

  const child = fork(new URL('./real-child.ts', import.meta.url), { execArgv: ['--import=tsx', '--expose-gc'] });
  t.teardown(async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  });
  await once(child, 'spawn');
  writeFileSync(`${group.directory}/cgroup.procs`, String(child.pid));

  const first = await ask(child, 'sample');
  t.like(first, { sensor: group.sensor, level: 'normal', limitBytes: LIMIT_MIB * MIB, headroomBytes: 64 * MIB });

  await ask(child, { readFile: file });
  const cached = await ask(child, 'sample');
  const chargedBytes = Number(readFileSync(`${group.directory}/${group.chargedFile}`, 'utf8'));
  t.log(`charged ${Math.round(chargedBytes / MIB)} MiB, counted ${Math.round(cached.usedBytes / MIB)} MiB`);
  t.true(chargedBytes > 0.9 * LIMIT_MIB * MIB, 'the cache has filled the group');
  t.is(cached.level, 'normal');
  t.true(cached.usedBytes < 80 * MIB);

  // Soft 179, hard 218 MiB; left below 161 and 196. What the child uses besides is taken off what it is told to hold.
  const steps = [
    { usedMib: 198, level: 'constrained', atLeastMib: 180, belowMib: 217 },
    { usedMib: 228, level: 'critical', atLeastMib: 218, belowMib: 256 },
    { usedMib: 206, level: 'critical', atLeastMib: 196, belowMib: 217 },
    { usedMib: 170, level: 'constrained', atLeastMib: 162, belowMib: 179 },
    { usedMib: 0, level: 'normal', atLeastMib: 0, belowMib: 161 },
  ] as const;
  for (const { usedMib, level, atLeastMib, belowMib } of steps) {
    await ask(child, { holdMib: Math.max(0, usedMib - cached.usedBytes / MIB) });
    const sample = await sampleUntil(
      child,
      ({ usedBytes }) => usedBytes >= atLeastMib * MIB && usedBytes < belowMib * MIB,
    );
    t.log(`counted ${Math.round(sample.usedBytes / MIB)} MiB: ${sample.level}`);
    t.is(sample.level, level);
  }
});

/** A memory cgroup with a limit, removed after the test; undefined where this process may not make one. */
function makeCgroup(t: ExecutionContext) {
  const v1 = existsSync('/sys/fs/cgroup/memory/memory.limit_in_bytes');
  const directory = `/sys/fs/cgroup/${v1 ? 'memory/' : ''}hotblob-test-${process.pid}`;
  try {
    mkdirSync(directory);
  } catch (error) {
    t.log(String(error));
    return undefined;
  }
  // Teardowns run last in, first out: by then the child, the only member, has gone, or is about to for the kernel.
  t.teardown(() => removeGroup(directory));
  try {
    writeFileSync(`${directory}/${v1 ? 'memory.limit_in_bytes' : 'memory.max'}`, String(LIMIT_MIB * MIB), {
      flag: 'r+',
    });
  } catch (error) {
    t.log(String(error));
    return undefined;
  }
  return v1
    ? { directory, sensor: 'cgroup v1', chargedFile: 'memory.usage_in_bytes' }
    : { directory, sensor: 'cgroup v2', chargedFile: 'memory.current' };
}

/** Sends a command and resolves to what the child sees after it. Rejects when the child ends, as the OOM killer may. */
async function ask(child: ChildProcess, command: Command): Promise<SystemMemoryPressure> {
  const ended = new AbortController();
  const end = () => ended.abort(new Error('the child ended'));
  child.once('exit', end);
  try {
    const answers = on(child, 'message', { signal: ended.signal });
    child.send(command);
    for await (const [answer] of answers) return answer;
    throw new Error('unreachable');
  } finally {
    child.off('exit', end);
  }
}

/** Memory that was let go is freed on a thread of V8, some time soon. */
async function sampleUntil(child: ChildProcess, done: (sample: SystemMemoryPressure) => boolean) {
  let sample = await ask(child, 'sample');
  for (let tries = 0; !done(sample) && tries < 25; tries++) sample = await ask(child, 'sample');
  return sample;
}

async function removeGroup(directory: string): Promise<void> {
  for (const deadline = performance.now() + 10_000; ; ) {
    try {
      rmdirSync(directory);
      return;
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
