import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import type { ExecutionContext } from 'ava';
import { until } from './poll.js';

/** A memory cgroup with a limit, for processes that are to run short of memory. Removed after the test. */
export interface MemoryGroup {
  readonly version: 1 | 2;
  readonly limitBytes: number;
  /** What a shell runs to become, with all that it starts, a member. */
  readonly join: string;
  /** All that is charged to the group, clean page cache too, in bytes. */
  chargedBytes(): number;
  /** How many of its processes the kernel has ended for want of memory. */
  kills(): number;
}

const HIERARCHIES = {
  1: {
    top: '/sys/fs/cgroup/memory',
    limit: 'memory.limit_in_bytes',
    charged: 'memory.usage_in_bytes',
    events: 'memory.oom_control',
  },
  2: { top: '/sys/fs/cgroup', limit: 'memory.max', charged: 'memory.current', events: 'memory.events' },
} as const;

let made = 0;

/** Makes one. Tests that call it are declared with the requirement `cgroup`. */
export function memoryGroup(t: ExecutionContext, limitBytes: number): MemoryGroup {
  const version = existsSync(`${HIERARCHIES[1].top}/${HIERARCHIES[1].limit}`) ? 1 : 2;
  const { top, limit, charged, events } = HIERARCHIES[version];
  const directory = `${top}/hotblob-test-${process.pid}-${++made}`;
  mkdirSync(directory);
  // Teardowns run last in, first out: by then its members have gone, or are about to for the kernel.
  t.teardown(() => until('the group is removed', () => remove(directory)));
  // Not made where it does not exist: then the memory controller is elsewhere.
  writeFileSync(`${directory}/${limit}`, String(limitBytes), { flag: 'r+' });
  const read = (name: string): string => readFileSync(`${directory}/${name}`, 'latin1');
  return {
    version,
    limitBytes,
    join: `echo $$ > ${directory}/cgroup.procs`,
    chargedBytes: () => Number(read(charged)),
    kills: () => Number(/^oom_kill (\d+)$/m.exec(read(events))?.[1]),
  };
}

function remove(directory: string): boolean {
  try {
    rmdirSync(directory);
    return true;
  } catch {
    return false;
  }
}
