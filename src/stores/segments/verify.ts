import { errnoCode } from '../../contract/errors.js';
import { decodeMetadata } from '../../contract/upload-metadata.js';
import { PRIVATE } from '../../util/permissions.js';
import { type BodyFault, FAULT_DESCRIPTIONS, findBodyFault } from './body-check.js';
import { type IndexEntry, isAt } from './index-entry.js';
import { assertFormat, findLayout } from './layout.js';
import { SegmentIndex } from './segment-index.js';
import { segmentPath } from './segment-set.js';

/** Fault found by {@link verifySegments}. */
export interface SegmentFinding {
  /**
   * Kind of the fault. `index`: the rest of the index cannot be read. `entry`: the index entry of an artifact is
   * corrupt. `unreadable`: a body cannot be read because of a system error. Other values are faults of a body.
   */
  readonly kind: 'index' | 'entry' | 'unreadable' | BodyFault;
  /** Key of the artifact. Undefined if `kind` is `index`. */
  readonly key: string | undefined;
  /** Path of the faulty file. */
  readonly file: string;
  /** Description for people, with the key and the file. */
  readonly message: string;
}

/** Totals of {@link verifySegments}. */
export interface SegmentSummary {
  /** Number of artifacts checked, including faulty ones. */
  readonly artifacts: number;
  /** Total length of the bodies of these artifacts, in bytes. */
  readonly bytes: number;
}

/**
 * Checks every body of the segment store in `dir` against its checksum. Yields the faults and returns the totals. Does
 * not change anything; another process may write to the store at the same time.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` if `dir` contains no segment store, `ERR_HOTBLOB_NO_LMDB` if the
 * package `lmdb` is not available
 */
export async function* verifySegments(dir: string): AsyncGenerator<SegmentFinding, SegmentSummary> {
  const layout = await findLayout(dir);
  await assertFormat(layout.root);
  let artifacts = 0;
  let bytes = 0;
  let index: SegmentIndex | undefined;
  try {
    index = await SegmentIndex.open(
      layout.index,
      { readOnly: true, durable: true, permissions: PRIVATE },
      Number.POSITIVE_INFINITY,
    );
    for (const batch of index.entries()) {
      for (const { key, entry } of batch) {
        artifacts++;
        bytes += entry?.length ?? 0;
        const finding = await verifyArtifact(index, layout.segments, key, entry);
        if (finding !== undefined) yield finding;
      }
    }
  } catch (error) {
    if (errnoCode(error) === 'ERR_HOTBLOB_NO_LMDB') throw error;
    const message = error instanceof Error ? error.message : String(error);
    yield { kind: 'index', key: undefined, file: layout.index, message };
  } finally {
    await index?.close();
  }
  return { artifacts, bytes };
}

async function verifyArtifact(
  index: SegmentIndex,
  segments: string,
  key: string,
  entry: IndexEntry | undefined,
): Promise<SegmentFinding | undefined> {
  if (entry === undefined) {
    if (currentEntry(index, key) !== undefined) return undefined;
    const message = `the index entry of '${key}' is corrupt: ${index.path}`;
    return { kind: 'entry', key, file: index.path, message };
  }
  if (entry.metadata !== undefined && decodeMetadata(entry.metadata) === undefined) {
    const message = `the metadata of '${key}' is corrupt: ${index.path}`;
    return { kind: 'entry', key, file: index.path, message };
  }
  const path = segmentPath(segments, entry.segment);
  const file = entry.inline === undefined ? path : index.path;
  let fault: BodyFault | undefined;
  let description: string;
  try {
    fault = await findBodyFault(entry, path);
    if (fault === undefined) return undefined;
    description = FAULT_DESCRIPTIONS[fault];
  } catch (error) {
    description = `cannot be read (${errnoCode(error) ?? error})`;
  }
  // The writer may have moved, replaced or evicted the artifact since the entry was read.
  const current = currentEntry(index, key);
  if (current === undefined || !isAt(current, entry)) return undefined;
  return { kind: fault ?? 'unreadable', key, file, message: `the body of '${key}' ${description}: ${file}` };
}

function currentEntry(index: SegmentIndex, key: string): IndexEntry | undefined {
  try {
    return index.get(key);
  } catch {
    return undefined;
  }
}
