/** Reads one file of /proc or cgroupfs, whole; throws what the system throws. Tests put a fixture tree behind it. */
export type ReadFile = (path: string) => string;

/** What a sensor found of one limit: bytes that cannot simply be dropped, and how many there may be. */
export interface MemoryUse {
  readonly usedBytes: number;
  readonly limitBytes: number;
}

/**
 * The rows of `memory.stat` (`anon 4096`, in bytes) or `/proc/meminfo` (`AnonPages:  4 kB`), by name, as they stand:
 * units are the caller's. Lines of any other form are left out.
 */
export function parseRows(text: string): ReadonlyMap<string, number> {
  const rows = new Map<string, number>();
  for (const [, name, value] of text.matchAll(/^([^\s:]+):?[ \t]+(\d+)(?: kB)?$/gm)) {
    if (name !== undefined) rows.set(name, Number(value));
  }
  return rows;
}

/** The sum of the named rows. An absent row counts 0: older kernels have fewer of them. */
export function sumRows(rows: ReadonlyMap<string, number>, names: readonly string[]): number {
  return names.reduce((sum, name) => sum + (rows.get(name) ?? 0), 0);
}
