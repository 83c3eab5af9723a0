import { createLog } from '../util/log.js';
import { type CgroupReading, cgroupReader } from './cgroup.js';
import { readHostMemory } from './host.js';
import {
  headroomOf,
  type MemoryPressureLevel,
  type MemoryPressureProvider,
  nextLevel,
  type Watermarks,
} from './level.js';
import type { MemoryUsage, ReadFile } from './sensor.js';

const log = createLog('memory');

const MAX_SAMPLE_AGE_MS = 200;

/** Memory pressure measured by {@link systemMemoryPressure}. All members are present. */
export interface SystemMemoryPressure extends MemoryPressureProvider {
  /**
   * Memory limit in bytes. If several limits apply, it is the one with the highest share in use. 0 if nothing can be
   * measured.
   */
  readonly limitBytes: number;
  /** Unreclaimable bytes that count against `limitBytes`, without clean page cache. 0 if nothing can be measured. */
  readonly usedBytes: number;
  /** Value of `usedBytes` from which the level is `constrained`. 0 if nothing can be measured. */
  readonly softBytes: number;
  /** Value of `usedBytes` from which the level is `critical`. 0 if nothing can be measured. */
  readonly hardBytes: number;
  /**
   * Number of bytes that can still be used before the level becomes `constrained`. If several limits apply, the limit
   * with the smallest such number counts. Clean page cache is not counted as used. 0 if nothing can be measured.
   */
  readonly roomBytes: number;
  /** Source of the figures. `none`: nothing can be measured. */
  readonly sensor: 'cgroup v2' | 'cgroup v1' | 'meminfo' | 'os' | 'none';
}

/** Functions through which memory is measured. Tests pass their own. */
export interface MemorySources {
  readonly read: ReadFile;
  /** Reads the memory usage through Node. Called if /proc cannot be read. May throw. */
  readonly readOs: () => MemoryUsage;
  /** Returns the time of a monotonic clock in milliseconds. */
  readonly now: () => number;
}

interface Measurement {
  readonly sensor: SystemMemoryPressure['sensor'];
  /**
   * Limit with the highest share in use. It is not always the smallest limit: other processes can fill a larger one
   * that they share.
   */
  readonly fullest: MemoryUsage;
  /**
   * Smallest limit that applies. Headroom is derived from it, because mapped files and buffers have to fit into every
   * limit.
   */
  readonly smallestLimitBytes: number;
  /** Usage of every limit that applies. */
  readonly usages: readonly MemoryUsage[];
}

const UNMEASURED: Measurement = {
  sensor: 'none',
  fullest: { usedBytes: 0, limitBytes: 0 },
  smallestLimitBytes: 0,
  usages: [],
};

/**
 * Creates a provider that measures on demand: reading a property takes a new sample if the last one is older than 200
 * ms. Reading a property never throws. If nothing can be measured, the level is `constrained`, the safe assumption.
 */
export function measuredMemoryPressure(sources: MemorySources, watermarks: Watermarks): SystemMemoryPressure {
  const measure = measurementOf(sources);
  let sampledAt = Number.NEGATIVE_INFINITY;
  let level: MemoryPressureLevel = 'normal';
  let sample = UNMEASURED;

  const current = () => {
    const now = sources.now();
    if (now - sampledAt > MAX_SAMPLE_AGE_MS) {
      sampledAt = now;
      sample = measure();
      const { sensor, fullest } = sample;
      const next = sensor === 'none' ? 'constrained' : nextLevel(level, usedRatio(fullest), watermarks);
      if (next !== level)
        log('pressure %s: %d of %d bytes in use (%s)', next, fullest.usedBytes, fullest.limitBytes, sensor);
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
      return current().fullest.limitBytes;
    },
    get usedBytes() {
      return current().fullest.usedBytes;
    },
    get softBytes() {
      return Math.floor(current().fullest.limitBytes * watermarks.softRatio);
    },
    get hardBytes() {
      return Math.floor(current().fullest.limitBytes * watermarks.hardRatio);
    },
    get roomBytes() {
      const rooms = current().usages.map(({ usedBytes, limitBytes }) => limitBytes * watermarks.softRatio - usedBytes);
      return rooms.length === 0 ? 0 : Math.max(0, Math.floor(Math.min(...rooms)));
    },
    get sensor() {
      return current().sensor;
    },
  };
}

/**
 * Returns a function that measures the cgroups of this process. Without a cgroup limit, it measures the machine through
 * /proc. If that fails, it measures the machine through Node. The function never throws.
 */
function measurementOf({ read, readOs }: MemorySources): () => Measurement {
  const readCgroups = cgroupReader(read);
  const readHost = () => readHostMemory(read);
  let physicalBytes: number | undefined;

  return () => {
    const cgroups = readCgroups();
    if (cgroups && cgroups.usages.length > 0) {
      physicalBytes ??= (attempt(readHost) ?? attempt(readOs))?.limitBytes;
      const measurement = applicableLimits(cgroups, physicalBytes);
      if (measurement) return measurement;
    }
    const host = attempt(readHost);
    if (host) return { sensor: 'meminfo', fullest: host, smallestLimitBytes: host.limitBytes, usages: [host] };
    const os = attempt(readOs);
    return os ? { sensor: 'os', fullest: os, smallestLimitBytes: os.limitBytes, usages: [os] } : UNMEASURED;
  };
}

/**
 * Returns the measurement of the cgroups. Limits above physical memory, such as the "unlimited" of cgroup v1, are
 * ignored, because the machine runs out of memory first.
 */
function applicableLimits(
  { version, usages }: CgroupReading,
  physicalBytes = Number.MAX_SAFE_INTEGER,
): Measurement | undefined {
  const applicable = usages.filter(({ limitBytes }) => limitBytes <= physicalBytes);
  const [first, ...others] = applicable;
  if (!first) return undefined;
  return {
    sensor: `cgroup v${version}`,
    fullest: others.reduce((a, b) => (usedRatio(b) > usedRatio(a) ? b : a), first),
    smallestLimitBytes: Math.min(...applicable.map(({ limitBytes }) => limitBytes)),
    usages: applicable,
  };
}

/** Returns the share of the limit that is in use. A limit of 0 is always full. */
function usedRatio({ usedBytes, limitBytes }: MemoryUsage): number {
  return limitBytes > 0 ? usedBytes / limitBytes : 1;
}

function attempt<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch {
    return undefined;
  }
}
