import { sep } from 'node:path';

/** Returns the beginning of every path below `directory`. */
export function prefixOf(directory: string): string {
  return directory.endsWith(sep) ? directory : directory + sep;
}
