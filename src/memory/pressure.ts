import { readFileSync } from 'node:fs';
import { assertOptions, BYTES, invalidOption, NUMBER, oneOf } from '../contract/validation.js';
import { readOsMemory } from './host.js';
import {
  DEFAULT_WATERMARKS,
  type MemoryPressureLevel,
  type MemoryPressureProvider,
  MIN_HEADROOM_BYTES,
  type Watermarks,
} from './level.js';
import { type MemorySources, measuredMemoryPressure, type SystemMemoryPressure } from './measured.js';

export type { MemoryPressureLevel, MemoryPressureProvider } from './level.js';
export type { SystemMemoryPressure } from './measured.js';

/** What {@link systemMemoryPressure} takes: 0 < softRatio < hardRatio <= 1. */
export interface SystemMemoryPressureOptions {
  /** The soft watermark, as a share of the limit: from here on the level is `constrained`. Default: 0.7. */
  readonly softRatio?: number | undefined;
  /** The hard watermark, as a share of the limit: from here on the level is `critical`. Default: 0.85. */
  readonly hardRatio?: number | undefined;
}

/** What {@link fixedMemoryPressure} takes. */
export interface FixedMemoryPressureOptions {
  /** Default: 64 MiB, the least that a measured pressure gives. */
  readonly headroomBytes?: number | undefined;
}

const LEVEL = oneOf('normal', 'constrained', 'critical');

const SYSTEM: MemorySources = {
  // Kernel memory, no disk: microseconds, where a trip to the threadpool would take longer.
  read: (path) => readFileSync(path, 'utf8'),
  readOs: () => readOsMemory(),
  now: () => performance.now(),
};

/**
 * Measures the memory that this process may use: every cgroup limit that holds for it, v2 or v1, and where none is below
 * physical memory, the machine. Counted is what the kernel cannot simply drop: anonymous and shared memory, kernel memory
 * without reclaimable slab, socket buffers, dirty pages and pages under writeback, as far as the sensor shows them. Clean
 * page cache never counts: a cache server fills its limit with it, and should.
 *
 * A property that is read takes a new sample when the last one is older than 200 ms. There is no timer, nothing to close,
 * and no I/O at construction. Where nothing can be measured the level is `constrained`.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` unless 0 < softRatio < hardRatio <= 1, and for unknown options
 */
export function systemMemoryPressure(options: SystemMemoryPressureOptions = {}): SystemMemoryPressure {
  return measuredMemoryPressure(SYSTEM, watermarksOf(options));
}

/** @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for what is no provider */
export function assertMemoryPressure(memory: MemoryPressureProvider): void {
  if (typeof memory.level === 'string' && typeof memory.headroomBytes === 'number') return;
  throw invalidOption('memory', 'an object with level and headroomBytes', memory);
}

let shared: SystemMemoryPressure | undefined;

/** The {@link systemMemoryPressure} of everything in this process that is not given one of its own. */
export function sharedMemoryPressure(): SystemMemoryPressure {
  shared ??= systemMemoryPressure();
  return shared;
}

/**
 * A pressure that never changes: for tests, and for hosts that know better.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for anything that is not a level or a number of bytes, and for
 *   unknown options
 */
export function fixedMemoryPressure(
  level: MemoryPressureLevel,
  options: FixedMemoryPressureOptions = {},
): MemoryPressureProvider {
  if (!LEVEL.accepts(level)) throw invalidOption('level', LEVEL.expected, level);
  assertOptions(options, { headroomBytes: BYTES });
  return { level, headroomBytes: options.headroomBytes ?? MIN_HEADROOM_BYTES };
}

function watermarksOf(options: SystemMemoryPressureOptions): Watermarks {
  assertOptions(options, { softRatio: NUMBER, hardRatio: NUMBER });
  const { softRatio = DEFAULT_WATERMARKS.softRatio, hardRatio = DEFAULT_WATERMARKS.hardRatio } = options;
  if (!(0 < softRatio && softRatio < hardRatio && hardRatio <= 1)) {
    throw invalidOption('softRatio, hardRatio', '0 < softRatio < hardRatio <= 1', { softRatio, hardRatio });
  }
  return { softRatio, hardRatio };
}
