import { prefixOf } from '../../util/prefix-of.js';
import { OldestFiles } from './candidates.js';
import { DIRECTORY_BYTES, OWN_DIRECTORIES_BYTES } from './disk-usage.js';
import { RESERVED_NAME, UPLOADS_NAME } from './paths.js';
import type { Totals } from './usage.js';
import { filesBelow, type StoredFile } from './walk.js';

/** Result of a scan. */
export interface ScanResult {
  readonly totals: Totals;
  readonly oldest: OldestFiles;
}

/** Parts of a store that a scan needs. */
export interface ScanContext {
  /** Whether a path below `.hotblob` is not counted, for example a temporary file of this store. */
  isUncounted(path: string): boolean;
  /** Returns the time of the last use of a file, in milliseconds since 1970. */
  lastUse(file: StoredFile): number;
  /** Called with the number of artifacts found so far. */
  onProgress(artifacts: number): void;
  isCancelled(): boolean;
}

/** Determines the disk usage of a directory and its least recently used files. Resolves to undefined if it was cancelled. */
export async function scanDirectory(root: string, context: ScanContext): Promise<ScanResult | undefined> {
  const isCancelled = (): boolean => context.isCancelled();
  const oldest = new OldestFiles();
  let artifacts = 0;
  let bytes = OWN_DIRECTORIES_BYTES;
  const countDirectory = (): void => {
    bytes += DIRECTORY_BYTES;
  };
  for await (const files of filesBelow(root, isCancelled, countDirectory)) {
    for (const file of files) {
      artifacts++;
      bytes += file.diskBytes;
      oldest.add({ key: file.key, diskBytes: file.diskBytes, usedAt: context.lastUse(file) });
    }
    context.onProgress(artifacts);
  }
  const countOwnDirectory = (path: string): void => {
    if (path !== UPLOADS_NAME) countDirectory();
  };
  for await (const files of filesBelow(prefixOf(root) + RESERVED_NAME, isCancelled, countOwnDirectory)) {
    for (const { key, diskBytes } of files) if (!context.isUncounted(key)) bytes += diskBytes;
  }
  return isCancelled() ? undefined : { totals: { artifacts, bytes }, oldest };
}
