import { errnoCode } from '../../contract/errors.js';
import { decodeMetadata } from '../../contract/upload-metadata.js';
import { type Entry, isAt } from './entry.js';
import { findLayout } from './layout.js';
import { type BodyFault, DESCRIPTIONS, faultOf } from './reader.js';
import { SegmentIndex } from './segment-index.js';
import { segmentPath } from './segment-set.js';

/** Something that {@link verifySegments} has found hurt. */
export interface SegmentFinding {
  /**
   * `index`: the index cannot be read any further. `entry`: one entry of it is damaged. `unreadable`: the system cannot read
   * a body. Else what is wrong with a body.
   */
  readonly kind: 'index' | 'entry' | 'unreadable' | BodyFault;
  /** The artifact; undefined where it is the index itself. */
  readonly key: string | undefined;
  /** The file that is hurt. */
  readonly file: string;
  /** A sentence for people, with the key and the file. */
  readonly message: string;
}

/** What {@link verifySegments} has looked at. */
export interface SegmentSummary {
  /** How many there are, hurt ones included. */
  readonly artifacts: number;
  /** Of their bodies. */
  readonly bytes: number;
}

/**
 * Compares every body of the segment store in `dir` with its checksum, and yields what is hurt; nothing is changed. Another
 * process may write meanwhile. Returns what it has looked at.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` where there is no segment store, `ERR_HOTBLOB_NO_LMDB` without `lmdb`
 */
export async function* verifySegments(dir: string): AsyncGenerator<SegmentFinding, SegmentSummary> {
  const layout = await findLayout(dir);
  let artifacts = 0;
  let bytes = 0;
  let index: SegmentIndex | undefined;
  try {
    index = await SegmentIndex.open(layout.index, { readOnly: true, durable: true }, Number.POSITIVE_INFINITY);
    for (const part of index.entries()) {
      for (const { key, entry } of part) {
        artifacts++;
        bytes += entry?.length ?? 0;
        const finding = await check(index, layout.segments, key, entry);
        if (finding !== undefined) yield finding;
      }
    }
  } catch (error) {
    if (errnoCode(error) === 'ERR_HOTBLOB_NO_LMDB') throw error;
    const reason = error instanceof Error ? error.message : String(error);
    yield { kind: 'index', key: undefined, file: layout.index, message: reason };
  } finally {
    await index?.close();
  }
  return { artifacts, bytes };
}

async function check(
  index: SegmentIndex,
  segments: string,
  key: string,
  entry: Entry | undefined,
): Promise<SegmentFinding | undefined> {
  if (entry === undefined) {
    if (entryNow(index, key) !== undefined) return undefined;
    const message = `the entry of '${key}' in the index is damaged: ${index.path}`;
    return { kind: 'entry', key, file: index.path, message };
  }
  if (entry.metadata !== undefined && decodeMetadata(entry.metadata) === undefined) {
    const message = `the metadata of '${key}' in the index is damaged: ${index.path}`;
    return { kind: 'entry', key, file: index.path, message };
  }
  const path = segmentPath(segments, entry.segment);
  const file = entry.inline === undefined ? path : index.path;
  let fault: BodyFault | undefined;
  let description: string;
  try {
    fault = await faultOf(entry, path);
    if (fault === undefined) return undefined;
    description = DESCRIPTIONS[fault];
  } catch (error) {
    description = `cannot be read (${errnoCode(error) ?? error})`;
  }
  // Whoever writes may have moved or replaced it since the entry was read.
  const now = entryNow(index, key);
  if (now === undefined || !isAt(now, entry)) return undefined;
  return { kind: fault ?? 'unreadable', key, file, message: `the body of '${key}' ${description}: ${file}` };
}

function entryNow(index: SegmentIndex, key: string): Entry | undefined {
  try {
    return index.get(key);
  } catch {
    return undefined;
  }
}
