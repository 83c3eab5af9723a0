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

/** Options of {@link systemMemoryPressure}: 0 < softRatio < hardRatio <= 1. */
export interface SystemMemoryPressureOptions {
  /** Soft watermark: share of the limit from which the level is `constrained`. Default: 0.7. */
  readonly softRatio?: number | undefined;
  /** Hard watermark: share of the limit from which the level is `critical`. Default: 0.85. */
  readonly hardRatio?: number | undefined;
}

/** Options of {@link fixedMemoryPressure}. */
export interface FixedMemoryPressureOptions {
  /** Headroom in bytes. Default: 64 MiB, the minimum of {@link systemMemoryPressure}. */
  readonly headroomBytes?: number | undefined;
}

const LEVEL = oneOf('normal', 'constrained', 'critical');

const SYSTEM: MemorySources = {
  // Synchronous, because /proc and cgroupfs are in kernel memory: a synchronous read takes less time than a task on the
  // thread pool.
  read: (path) => readFileSync(path, 'utf8'),
  readOs: () => readOsMemory(),
  now: () => performance.now(),
};

/**
 * Creates a provider that compares the memory in use with the limits of this process: every cgroup limit (v2 or v1)
 * that applies to it, or physical memory if no cgroup limit is lower.
 *
 * Only unreclaimable memory counts: anonymous and shared memory, kernel memory without reclaimable slab, socket
 * buffers, dirty pages and pages under writeback, as far as the sensor reports them. Clean page cache does not count,
 * because a cache server is expected to fill its limit with it.
 *
 * Reading a property takes a new sample if the last one is older than 200 ms. The provider has no timer, does not have
 * to be closed, and does no I/O at construction. If nothing can be measured, the level is `constrained`.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown option, and if 0 < softRatio < hardRatio <= 1 does
 *   not hold
 */
export function systemMemoryPressure(options: SystemMemoryPressureOptions = {}): SystemMemoryPressure {
  return measuredMemoryPressure(SYSTEM, watermarksOf(options));
}

/** @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` if `memory` is not a memory pressure provider */
export function assertMemoryPressure(memory: MemoryPressureProvider): void {
  if (!(typeof memory.level === 'string' && typeof memory.headroomBytes === 'number')) {
    throw invalidOption('memory', 'an object with level and headroomBytes', memory);
  }
  for (const name of ['usedBytes', 'limitBytes', 'softBytes', 'hardBytes'] as const) {
    const value = memory[name];
    if (value !== undefined && !NUMBER.accepts(value)) throw invalidOption(`memory.${name}`, NUMBER.expected, value);
  }
  const { sensor } = memory;
  if (!(sensor === undefined || typeof sensor === 'string')) throw invalidOption('memory.sensor', 'a string', sensor);
}

let shared: SystemMemoryPressure | undefined;

/** Returns the provider that is shared by all handlers and servers that are created without the option `memory`. */
export function sharedMemoryPressure(): SystemMemoryPressure {
  shared ??= systemMemoryPressure();
  return shared;
}

/**
 * Creates a provider whose level never changes, for tests and for hosts with a fixed memory budget.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an invalid level or number of bytes, and for unknown options
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
