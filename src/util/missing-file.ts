/** Error codes of open(2) and stat(2) for a path that does not lead to a file that can be read. */
const MISSING = new Set(['ENOENT', 'ENOTDIR', 'EISDIR', 'ELOOP', 'ENAMETOOLONG', 'ENXIO']);

/** Returns whether a system error means that there is no regular file at a path. */
export function isMissing(error: unknown): boolean {
  return MISSING.has((error as NodeJS.ErrnoException | undefined)?.code ?? '');
}
