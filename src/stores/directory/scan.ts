import { FingerprintTable, fingerprintOf } from '../../util/fingerprint-table.js';
import { prefixOf } from '../../util/prefix-of.js';
import type { OldestFiles } from './candidates.js';
import { DIRECTORY_BYTES, OWN_DIRECTORIES_BYTES } from './disk-usage.js';
import type { DirectoryGroup, DirectoryGroups } from './groups.js';
import { keyFingerprintIn } from './metadata.js';
import { RESERVED_NAME, UPLOADS_NAME } from './paths.js';
import type { Totals } from './usage.js';
import { filesBelow, type StoredFile } from './walk.js';

/** Result of a scan for one group. */
export interface GroupScan {
  readonly group: DirectoryGroup;
  readonly bytes: number;
  readonly oldest: OldestFiles;
}

/** Result of a scan. */
export interface ScanResult {
  readonly totals: Totals;
  readonly groups: readonly GroupScan[];
}

/** Parts of a store that a scan needs. */
export interface ScanContext {
  readonly groups: DirectoryGroups;
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
  const { groups } = context;
  const found = groups.all.map((group) => ({ group, bytes: 0, oldest: group.candidates.collect() }));
  const foundOf = (group: DirectoryGroup) => found[group.limits.index];
  const count = (group: DirectoryGroup, bytes: number): void => {
    const entry = foundOf(group);
    if (entry !== undefined) entry.bytes += bytes;
  };
  // Sidecar files count towards the groups of their artifacts. Their names have only the fingerprints of the keys.
  const owners = groups.all.length > 1 ? new FingerprintTable() : undefined;
  let artifacts = 0;
  let bytes = OWN_DIRECTORIES_BYTES;
  const countDirectory = (path: string): void => {
    bytes += DIRECTORY_BYTES;
    // The group of a file that could be in the directory.
    count(groups.of(`${path}/x`), DIRECTORY_BYTES);
  };
  for await (const files of filesBelow(root, isCancelled, countDirectory)) {
    for (const file of files) {
      const { key, diskBytes } = file;
      const group = groups.of(key);
      artifacts++;
      bytes += diskBytes;
      count(group, diskBytes);
      foundOf(group)?.oldest.add({ key, diskBytes, usedAt: context.lastUse(file) });
      if (group.limits.index > 0) owners?.set(fingerprintOf(key), group.limits.index);
    }
    context.onProgress(artifacts);
  }
  const countOwnDirectory = (path: string): void => {
    if (path !== UPLOADS_NAME) bytes += DIRECTORY_BYTES;
  };
  for await (const files of filesBelow(prefixOf(root) + RESERVED_NAME, isCancelled, countOwnDirectory)) {
    for (const { key: path, diskBytes } of files) {
      if (context.isUncounted(path)) continue;
      bytes += diskBytes;
      const key = owners && keyFingerprintIn(path);
      const owner = found[(key && owners?.get(key)) ?? 0];
      if (owner !== undefined) owner.bytes += diskBytes;
    }
  }
  return isCancelled() ? undefined : { totals: { artifacts, bytes }, groups: found };
}
