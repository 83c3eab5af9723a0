/** Limit that is fixed, or a function that returns its current value, such as a share that depends on the number of processes. */
export type Limit = number | (() => number);

/** Returns the current value of a limit. */
export function currentLimit(limit: Limit): number {
  return typeof limit === 'number' ? limit : limit();
}

/**
 * Returns the share that each of `processes` processes has of `total`, rounded down, but at least `min`. If the number of
 * processes can change, the share changes with it.
 */
export function shareOf(total: number, processes: Limit, min: number): Limit {
  const share = (count: number): number => Math.max(min, Math.floor(total / count));
  return typeof processes === 'number' ? share(processes) : () => share(processes());
}
