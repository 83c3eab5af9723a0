/**
 * Function that returns the text of a file of /proc or cgroupfs. Throws the error of the system call. Tests pass a
 * function that reads fixtures.
 */
export type ReadFile = (path: string) => string;

/** Memory limit, and the memory that counts against it: bytes that the kernel cannot reclaim without I/O or swap. */
export interface MemoryUsage {
  readonly usedBytes: number;
  readonly limitBytes: number;
}

/**
 * Parses the rows of `memory.stat` (`anon 4096`, in bytes) or of `/proc/meminfo` (`AnonPages:  4 kB`). Values are not
 * converted: the caller knows the unit. Lines of any other form are skipped.
 */
export function parseRows(text: string): ReadonlyMap<string, number> {
  const rows = new Map<string, number>();
  for (const [, name, value] of text.matchAll(/^([^\s:]+):?[ \t]+(\d+)(?: kB)?$/gm)) {
    if (name !== undefined) rows.set(name, Number(value));
  }
  return rows;
}

/** Returns the sum of the named rows. A missing row counts as 0, because older kernels have fewer rows. */
export function sumRows(rows: ReadonlyMap<string, number>, names: readonly string[]): number {
  return names.reduce((sum, name) => sum + (rows.get(name) ?? 0), 0);
}
