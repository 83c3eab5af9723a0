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
import type { MemoryUsage, ReadFile } from './sensor.js';

const debug = createDebug('hotblob:memory');

const MAX_SAMPLE_AGE_MS = 200;

/** Memory pressure measured by {@link systemMemoryPressure}. All members are present. */
export interface SystemMemoryPressure extends MemoryPressureProvider {
  /** Limit with the highest share in use, in bytes. 0 if nothing can be measured. */
  readonly limitBytes: number;
  /** Unreclaimable bytes that count against `limitBytes`, without clean page cache. 0 if nothing can be measured. */
  readonly usedBytes: number;
  /** Value of `usedBytes` from which the level is `constrained`. 0 if nothing can be measured. */
  readonly softBytes: number;
  /** Value of `usedBytes` from which the level is `critical`. 0 if nothing can be measured. */
  readonly hardBytes: number;
  /**
   * Bytes left until `constrained` begins, under the limit that leaves the fewest. Clean page cache does not reduce it.
   * 0 if nothing can be measured.
   */
  readonly roomBytes: number;
  /** Source of the figures. `none`: nothing can be measured. */
  readonly sensor: 'cgroup v2' | 'cgroup v1' | 'meminfo' | 'os' | 'none';
}

/** Sources of a measurement. Tests pass their own. */
export interface MemorySources {
  readonly read: ReadFile;
  /** Fallback without /proc. Throws if it fails too. */
  readonly readOs: () => MemoryUsage;
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
}

interface Measurement {
  readonly sensor: SystemMemoryPressure['sensor'];
  /** Usage of the limit with the highest share in use. It can be a large limit that several groups share. */
  readonly fullest: MemoryUsage;
  /** Smallest limit: headroom is derived from it, because mapped files and buffers have to fit into every limit. */
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
 * Creates a provider that samples its sources when a property is read and the last sample is older than 200 ms. Reading
 * a property never throws. If nothing can be measured, the level is `constrained`, the safe assumption.
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
        debug('pressure %s: %d of %d bytes in use (%s)', next, fullest.usedBytes, fullest.limitBytes, sensor);
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
 * Returns a function that measures the cgroups, or else the machine through /proc, or else through Node. It never
 * throws.
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
 * Ignores limits above physical memory, such as "unlimited" of cgroup v1, because the machine runs out of memory first.
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
