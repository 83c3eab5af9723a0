import createDebug from 'debug';
import { type CgroupReading, cgroupReader } from './cgroup.js';
import { readHostMemory } from './host.js';
import {
  headroomOf,
  type MemoryPressureLevel,
  type MemoryPressureProvider,
  nextLevel,
  type Watermarks,
} from './level.js';
import type { MemoryUse, ReadFile } from './sensor.js';

const debug = createDebug('hotblob:memory');

const MAX_SAMPLE_AGE_MS = 200;

/** What is measured, besides the level and the headroom. */
export interface SystemMemoryPressure extends MemoryPressureProvider {
  /** The limit whose watermarks are nearest, in bytes; 0 where nothing can be measured. */
  readonly limitBytes: number;
  /** What counts against `limitBytes`: never clean file pages. In bytes; 0 where nothing can be measured. */
  readonly usedBytes: number;
  /** Where `constrained` begins, of `limitBytes`. In bytes; 0 where nothing can be measured. */
  readonly softBytes: number;
  /** Where `critical` begins, of `limitBytes`. In bytes; 0 where nothing can be measured. */
  readonly hardBytes: number;
  /**
   * How much more may be in use before `constrained` begins, under the limit that leaves least. In bytes; 0 where nothing can
   * be measured. Page cache may take it, and what page cache has taken is not missing from it.
   */
  readonly roomBytes: number;
  /** Where the figures come from. `none`: nothing can be measured. */
  readonly sensor: 'cgroup v2' | 'cgroup v1' | 'meminfo' | 'os' | 'none';
}

/** What the measuring rests on; tests put others in place. */
export interface MemorySources {
  readonly read: ReadFile;
  /** The last resort; throws where even that fails. */
  readonly readOs: () => MemoryUse;
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number;
}

interface Measurement {
  readonly sensor: SystemMemoryPressure['sensor'];
  readonly nearest: MemoryUse;
  /** The nearest limit may be a larger one that is shared; the pool has to fit into the smallest. */
  readonly smallestLimitBytes: number;
  /** All limits that bind. */
  readonly uses: readonly MemoryUse[];
}

const NOTHING: Measurement = {
  sensor: 'none',
  nearest: { usedBytes: 0, limitBytes: 0 },
  smallestLimitBytes: 0,
  uses: [],
};

/**
 * A pressure that samples its sources when a property is read and the last sample is older than 200 ms. Reading never
 * throws. Where nothing can be measured the level is `constrained`: what nobody can see is not taken for plenty.
 */
export function measuredMemoryPressure(sources: MemorySources, watermarks: Watermarks): SystemMemoryPressure {
  const measure = measuring(sources);
  let sampledAt = Number.NEGATIVE_INFINITY;
  let level: MemoryPressureLevel = 'normal';
  let sample = NOTHING;

  const current = () => {
    const now = sources.now();
    if (now - sampledAt > MAX_SAMPLE_AGE_MS) {
      sampledAt = now;
      sample = measure();
      const { sensor, nearest } = sample;
      const next = sensor === 'none' ? 'constrained' : nextLevel(level, usedRatio(nearest), watermarks);
      if (next !== level) debug('%s: %d of %d bytes (%s)', next, nearest.usedBytes, nearest.limitBytes, sensor);
      level = next;
    }
    return sample;
  };

  return {
    get level() {
      current();
      return level;
    },
    get headroomBytes() {
      return headroomOf(current().smallestLimitBytes, watermarks);
    },
    get limitBytes() {
      return current().nearest.limitBytes;
    },
    get usedBytes() {
      return current().nearest.usedBytes;
    },
    get softBytes() {
      return Math.floor(current().nearest.limitBytes * watermarks.softRatio);
    },
    get hardBytes() {
      return Math.floor(current().nearest.limitBytes * watermarks.hardRatio);
    },
    get roomBytes() {
      const rooms = current().uses.map(({ usedBytes, limitBytes }) => limitBytes * watermarks.softRatio - usedBytes);
      return rooms.length === 0 ? 0 : Math.max(0, Math.floor(Math.min(...rooms)));
    },
    get sensor() {
      return current().sensor;
    },
  };
}

/** A function that asks the cgroups first, then the machine, then Node. It never throws. */
function measuring({ read, readOs }: MemorySources): () => Measurement {
  const readCgroups = cgroupReader(read);
  const readHost = () => readHostMemory(read);
  let physicalBytes: number | undefined;

  return () => {
    const cgroups = readCgroups();
    if (cgroups && cgroups.uses.length > 0) {
      physicalBytes ??= (attempt(readHost) ?? attempt(readOs))?.limitBytes;
      const bound = bindingLimits(cgroups, physicalBytes);
      if (bound) return bound;
    }
    const host = attempt(readHost);
    if (host) return { sensor: 'meminfo', nearest: host, smallestLimitBytes: host.limitBytes, uses: [host] };
    const os = attempt(readOs);
    return os ? { sensor: 'os', nearest: os, smallestLimitBytes: os.limitBytes, uses: [os] } : NOTHING;
  };
}

/** Limits above physical memory bind nothing: the machine runs out first. v1's "unlimited" is one of them. */
function bindingLimits(
  { version, uses }: CgroupReading,
  physicalBytes = Number.MAX_SAFE_INTEGER,
): Measurement | undefined {
  const binding = uses.filter(({ limitBytes }) => limitBytes <= physicalBytes);
  const [first, ...others] = binding;
  if (!first) return undefined;
  return {
    sensor: `cgroup v${version}`,
    nearest: others.reduce((a, b) => (usedRatio(b) > usedRatio(a) ? b : a), first),
    smallestLimitBytes: others.reduce((least, { limitBytes }) => Math.min(least, limitBytes), first.limitBytes),
    uses: binding,
  };
}

/** 1 is full, which a limit of 0 always is. */
function usedRatio({ usedBytes, limitBytes }: MemoryUse): number {
  return limitBytes > 0 ? usedBytes / limitBytes : 1;
}

function attempt<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch {
    return undefined;
  }
}
