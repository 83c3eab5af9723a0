/** From plenty to hardly any: at `constrained` serving stops mapping files, at `critical` memory is about to run out. */
export type MemoryPressureLevel = 'normal' | 'constrained' | 'critical';

/** Tells how short memory is. Both properties are read on the hot path: they answer at once and never throw. */
export interface MemoryPressureProvider {
  /** How short memory is now. */
  readonly level: MemoryPressureLevel;
  /** Bytes between the soft and the hard watermark; sizes the serving pool. */
  readonly headroomBytes: number;
}

/** Where `constrained` and `critical` begin, as shares of a limit: 0 < softRatio < hardRatio <= 1. */
export interface Watermarks {
  readonly softRatio: number;
  readonly hardRatio: number;
}

/** What holds where nothing else is asked for; the figures have served in production. */
export const DEFAULT_WATERMARKS: Watermarks = { softRatio: 0.7, hardRatio: 0.85 };

const MIB = 2 ** 20;
/** The least headroom, in bytes, however small the limit. */
export const MIN_HEADROOM_BYTES = 64 * MIB;
const MAX_HEADROOM_BYTES = 512 * MIB;
/** A level is left only this far below its watermark, so that it does not flap. */
const LEAVE_FACTOR = 0.9;

/**
 * The level after `previous` when `usedRatio` of the limit is in use. A level is entered at its watermark and left below
 * 90% of it, so that usage has to move by a tenth of a watermark before the level can come back.
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

/** Hard minus soft watermark of a limit in bytes, at least 64 MiB and at most 512 MiB. */
export function headroomOf(limitBytes: number, { softRatio, hardRatio }: Watermarks): number {
  const gap = Math.floor((hardRatio - softRatio) * limitBytes);
  return Math.min(Math.max(gap, MIN_HEADROOM_BYTES), MAX_HEADROOM_BYTES);
}
