import { readFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { HotblobError } from '../errors.js';
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

export interface SystemMemoryPressureOptions {
  /** The soft watermark, as a share of the limit: from here on the level is `constrained`. Default: 0.7. */
  readonly softRatio?: number | undefined;
  /** The hard watermark, as a share of the limit: from here on the level is `critical`. Default: 0.85. */
  readonly hardRatio?: number | undefined;
}

export interface FixedMemoryPressureOptions {
  /** Default: 64 MiB, the least that a measured pressure gives. */
  readonly headroomBytes?: number | undefined;
}

const LEVELS: readonly MemoryPressureLevel[] = ['normal', 'constrained', 'critical'];

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
  if (!LEVELS.includes(level)) throw invalid('level', LEVELS.map((each) => `'${each}'`).join(', '), level);
  assertKnown(options, ['headroomBytes']);
  const { headroomBytes = MIN_HEADROOM_BYTES } = options;
  if (!Number.isSafeInteger(headroomBytes) || headroomBytes < 0) {
    throw invalid('headroomBytes', 'a whole number from 0', headroomBytes);
  }
  return { level, headroomBytes };
}

function watermarksOf(options: SystemMemoryPressureOptions): Watermarks {
  assertKnown(options, ['softRatio', 'hardRatio']);
  const { softRatio = DEFAULT_WATERMARKS.softRatio, hardRatio = DEFAULT_WATERMARKS.hardRatio } = options;
  for (const [name, ratio] of Object.entries({ softRatio, hardRatio })) {
    if (typeof ratio !== 'number') throw invalid(name, 'a number', ratio);
  }
  if (!(0 < softRatio && softRatio < hardRatio && hardRatio <= 1)) {
    throw invalid('softRatio, hardRatio', '0 < softRatio < hardRatio <= 1', { softRatio, hardRatio });
  }
  return { softRatio, hardRatio };
}

function assertKnown(options: object, known: readonly string[]): void {
  if (typeof options !== 'object' || options === null) throw invalid('options', 'an object', options);
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) throw invalid(name, `one of the options ${known.join(', ')}`, name);
  }
}

function invalid(name: string, expected: string, found: unknown): HotblobError {
  return new HotblobError('ERR_HOTBLOB_INVALID_OPTION', `${name}: expected ${expected}, found ${inspect(found)}`);
}
