/**
 * Memory pressure, from low to high. At `constrained` the handler no longer maps files; at `critical` the process is
 * about to run out of memory.
 */
export type MemoryPressureLevel = 'normal' | 'constrained' | 'critical';

/**
 * Reports memory pressure to handlers and servers. `level` and `headroomBytes` are read on the hot path: they must
 * return at once and never throw. The optional members describe the measurement: absent or `undefined` means unknown.
 */
export interface MemoryPressureProvider {
  /** Current memory pressure. */
  readonly level: MemoryPressureLevel;
  /**
   * Maximum number of mapped bytes that a handler has in flight, and of unread bytes that the uploads of a server buffer.
   * With `processes: n`, each process uses 1/n of it. The value of `systemMemoryPressure()` is the number of bytes between
   * the watermarks of the smallest limit, at least 64 MiB and at most 512 MiB.
   */
  readonly headroomBytes: number;
  /** Bytes in use that count against `limitBytes`. Reported in `stats()` and in the metrics. */
  readonly usedBytes?: number | undefined;
  /**
   * Memory limit in bytes. Read at construction for the default of `maxPooledBytes` (a sixteenth of the limit, at most
   * 64 MiB), and reported in `stats()` and in the metrics. If it is absent or 0, that default is derived from
   * `os.totalmem()`.
   */
  readonly limitBytes?: number | undefined;
  /** Value of `usedBytes` from which the level is `constrained`. Reported in `stats()` and in the metrics. */
  readonly softBytes?: number | undefined;
  /** Value of `usedBytes` from which the level is `critical`. Reported in `stats()` and in the metrics. */
  readonly hardBytes?: number | undefined;
  /** Name of the source of these figures, such as `cgroup v2`. Reported in `stats()`. */
  readonly sensor?: string | undefined;
}

/**
 * Shares of the memory limit at which the levels `constrained` and `critical` begin: 0 < softRatio < hardRatio <= 1.
 */
export interface Watermarks {
  readonly softRatio: number;
  readonly hardRatio: number;
}

/** Default watermarks of `systemMemoryPressure()`. */
export const DEFAULT_WATERMARKS: Watermarks = { softRatio: 0.7, hardRatio: 0.85 };

const MIB = 2 ** 20;
/** Minimum headroom in bytes, however small the memory limit is. */
export const MIN_HEADROOM_BYTES = 64 * MIB;
const MAX_HEADROOM_BYTES = 512 * MIB;
/** Hysteresis: a level ends at this share of its watermark, so that usage near the watermark does not make it flap. */
const LEAVE_FACTOR = 0.9;

/**
 * Returns the next level, if `previous` is the current one and `usedRatio` is the share of the limit that is in use. A
 * level begins at its watermark and ends below 90% of it.
 */
export function nextLevel(
  previous: MemoryPressureLevel,
  usedRatio: number,
  { softRatio, hardRatio }: Watermarks,
): MemoryPressureLevel {
  const wasCritical = previous === 'critical';
  if (usedRatio >= hardRatio * (wasCritical ? LEAVE_FACTOR : 1)) return 'critical';
  const wasConstrained = wasCritical || previous === 'constrained';
  return usedRatio >= softRatio * (wasConstrained ? LEAVE_FACTOR : 1) ? 'constrained' : 'normal';
}

/** Returns the number of bytes between the two watermarks, at least 64 MiB and at most 512 MiB. */
export function headroomOf(limitBytes: number, { softRatio, hardRatio }: Watermarks): number {
  const gap = Math.floor((hardRatio - softRatio) * limitBytes);
  return Math.min(Math.max(gap, MIN_HEADROOM_BYTES), MAX_HEADROOM_BYTES);
}
