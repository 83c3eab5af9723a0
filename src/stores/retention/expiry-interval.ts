const MIN_INTERVAL_MS = 1000;
const MAX_INTERVAL_MS = 60 * 60 * 1000;
/** Fraction of the shortest age by which an artifact may become older. */
const MAX_EXCESS = 1 / 16;

/** Returns the interval at which expired artifacts are looked for, in milliseconds. */
export function expiryIntervalOf(minAgeMs: number): number {
  return Math.min(MAX_INTERVAL_MS, Math.max(MIN_INTERVAL_MS, Math.ceil(minAgeMs * MAX_EXCESS)));
}
