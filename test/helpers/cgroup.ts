import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import type { ExecutionContext } from 'ava';
import { until } from './poll.js';

/** A cgroup with a memory limit. Removed after the test. */
export interface MemoryGroup {
  readonly version: 1 | 2;
  readonly limitBytes: number;
  /** Shell command that moves the shell, and the processes that it starts later, into the cgroup. */
  readonly join: string;
  /** Moves a process into the cgroup. Its memory stays charged to the previous one; that of its later children does not. */
  add(pid: number): void;
  /** Moves a process out of the cgroup. */
  remove(pid: number): void;
  /** Replaces the memory limit. */
  limit(bytes: number): void;
  /** Memory charged to the cgroup in bytes, including clean page cache. */
  chargedBytes(): number;
  /** Anonymous memory of the cgroup in bytes. */
  anonymousBytes(): number;
  /** Number of processes of the cgroup that the OOM killer has killed. */
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

let groupCount = 0;

/** Creates a cgroup. Tests that call this function must declare the requirement `cgroup`. */
export function memoryGroup(t: ExecutionContext, limitBytes: number): MemoryGroup {
  const version = existsSync(`${HIERARCHIES[1].top}/${HIERARCHIES[1].limit}`) ? 1 : 2;
  const { top, limit, charged, events } = HIERARCHIES[version];
  const directory = `${top}/hotblob-test-${process.pid}-${++groupCount}`;
  mkdirSync(directory);
  // Teardowns run in reverse order, so the members have been killed by then. rmdir fails until the kernel has reaped them.
  t.teardown(() => until('the cgroup is removed', () => remove(directory)));
  // r+ fails if the file does not exist, which means that the memory controller is not enabled here.
  writeFileSync(`${directory}/${limit}`, String(limitBytes), { flag: 'r+' });
  const read = (name: string): string => readFileSync(`${directory}/${name}`, 'latin1');
  return {
    version,
    limitBytes,
    join: `echo $$ > ${directory}/cgroup.procs`,
    add: (pid) => writeFileSync(`${directory}/cgroup.procs`, String(pid)),
    remove: (pid) => writeFileSync(`${top}/cgroup.procs`, String(pid)),
    limit: (bytes) => writeFileSync(`${directory}/${limit}`, String(bytes)),
    chargedBytes: () => Number(read(charged)),
    anonymousBytes: () => Number(/^(?:total_rss|anon) (\d+)$/m.exec(read('memory.stat'))?.[1]),
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
