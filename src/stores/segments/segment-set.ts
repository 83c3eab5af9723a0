import { join } from 'node:path';
import type { CommitSpace } from './commit-space.js';
import { INLINE_BASE, type Location } from './index-entry.js';
import { NO_COUNTS, Segment, type SegmentCounts } from './segment.js';
import type { SegmentGroup } from './segment-groups.js';

/** Returns the path of a segment file. */
export function segmentPath(directory: string, id: number): string {
  return join(directory, `${String(id).padStart(10, '0')}.segment`);
}

/** Returns the segment id in a file name, or `undefined` if the file is not a segment. */
export function segmentIdOf(name: string): number | undefined {
  const digits = /^(\d{10})\.segment$/.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** Part of a segment that is reserved for one body. */
export interface Region extends Pick<Location, 'offset'> {
  readonly segment: Segment;
  /** Length in bytes. Undefined while the length of the body is unknown: no other body may be appended until then. */
  readonly length: number | undefined;
}

/** All segments of a store that is open for writing. Chooses a segment for each new body. */
export class SegmentSet {
  readonly #directory: string;
  readonly #mode: number;
  readonly #segments = new Map<number, Segment>();
  /** Segments that changed since the last {@link takeChanged}. */
  readonly #changed = new Set<Segment>();
  readonly #space: CommitSpace;
  #nextId: number;

  /** @param nextId id from which segment ids are unused */
  constructor(directory: string, mode: number, nextId: number, space: CommitSpace) {
    this.#space = space;
    this.#directory = directory;
    this.#mode = mode;
    this.#nextId = nextId;
  }

  /** Adds an existing segment. Further bodies are appended to it unless it is sealed or full. */
  add(segment: Segment): void {
    this.#segments.set(segment.id, segment);
    this.#nextId = Math.max(this.#nextId, segment.id + 1);
    if (segment.isSealed) this.#changed.add(segment);
    else segment.group.writable.push(segment);
    this.#sealFull(segment.group);
  }

  get(id: number): Segment | undefined {
    return this.#segments.get(id);
  }

  /** All segments, in the order of their ids. */
  get all(): Iterable<Segment> {
    return this.#segments.values();
  }

  /**
   * Returns the segments that changed since the last call. Only for these segments can compaction have become
   * worthwhile.
   */
  takeChanged(): Segment[] {
    const changed = [...this.#changed];
    this.#changed.clear();
    return changed;
  }

  /** Sets the counts of a segment after a commit. */
  setCounts(id: number, counts: SegmentCounts): void {
    const segment = this.#segments.get(id);
    if (segment === undefined) return; // the segment file was lost
    segment.counts = counts;
    segment.isGroupStored ||= !segment.isMixed;
    this.#changed.add(segment);
  }

  /** Disk usage of all segments in bytes. */
  get bytes(): number {
    let bytes = 0;
    for (const segment of this.#segments.values()) bytes += segment.bytes;
    return bytes;
  }

  /** Disk usage of the segments of a group in bytes. */
  bytesOf(group: SegmentGroup): number {
    let bytes = 0;
    for (const segment of this.#segments.values()) if (segment.group === group) bytes += segment.bytes;
    return bytes;
  }

  /** Number of artifacts. */
  get artifacts(): number {
    let artifacts = 0;
    for (const segment of this.#segments.values()) artifacts += segment.counts.liveCount;
    return artifacts;
  }

  /** Reserves `length` bytes for a body that is in memory. The region is pending until {@link settle} or {@link discard}. */
  reserve(length: number, group: SegmentGroup): Region {
    return this.#reserve(length, group, (segment) => segment.reserve(length));
  }

  /**
   * Reserves the offsets for a body of `length` bytes that has not arrived yet. The bytes count as used when
   * `segment.fill` announces them.
   */
  reserveHole(length: number, group: SegmentGroup): Region {
    return this.#reserve(length, group, (segment) => segment.reserveHole(length));
  }

  #reserve(length: number, group: SegmentGroup, reserveIn: (segment: Segment) => number): Region {
    const { segmentBytes } = group;
    // A large body gets a segment of its own, whose space is freed as soon as the body is deleted.
    const isLarge = length > segmentBytes / 4;
    const fits = (segment: Segment): boolean => segment.end + length <= segmentBytes;
    const segment = isLarge ? this.#create(group) : (group.writable.find(fits) ?? this.#createWritable(group));
    segment.pendingRegions++;
    const offset = reserveIn(segment);
    if (isLarge) segment.isSealed = true;
    this.#sealFull(group);
    return { segment, offset, length };
  }

  /**
   * Reserves the rest of a segment for a body of unknown length. The caller appends to it with `segment.reserve`. No other
   * body is appended until {@link settle} or {@link discard}.
   */
  reserveSegment(group: SegmentGroup): Region {
    const segment = group.writable[0] ?? this.#createWritable(group);
    group.writable = group.writable.filter((each) => each !== segment);
    segment.pendingRegions++;
    return { segment, offset: segment.end, length: undefined };
  }

  /**
   * Assigns an inline body to a segment. The region has no bytes in the file. Like other regions, it is pending until
   * {@link settle} or {@link discard}.
   */
  reserveInline(group: SegmentGroup): Region {
    const segment = group.writable[0] ?? this.#createWritable(group);
    segment.pendingRegions++;
    return { segment, offset: INLINE_BASE + ++segment.inlineCount, length: 0 };
  }

  /**
   * Writes all `chunks` consecutively to a segment, starting at `position`.
   *
   * @throws HotblobError `ERR_HOTBLOB_STORAGE_FULL` if the file system is full
   * @throws the error of the system call
   */
  async write(segment: Segment, chunks: readonly Uint8Array[], position: number): Promise<void> {
    const length = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
    await this.#space.assertBody(segment.growthOf(position, length));
    await segment.write(chunks, position);
  }

  /** Ends the reservation of a region that is in the index, or that may be in the index. */
  settle({ segment, length }: Region): void {
    segment.pendingRegions--;
    this.#changed.add(segment);
    if (length === undefined && !segment.isSealed) segment.group.writable.push(segment);
    this.#sealFull(segment.group);
    closeIfFinished(segment);
  }

  /** Ends the reservation of a region that was never in the index, and frees its space. */
  discard(region: Region): void {
    const { segment, offset, length } = region;
    segment.freeRegion(offset, length ?? segment.end - offset);
    this.settle(region);
  }

  /** Stops adding bodies to a segment. */
  seal(segment: Segment): void {
    segment.isSealed = true;
    this.#changed.add(segment);
    segment.group.writable = segment.group.writable.filter((each) => each !== segment);
    closeIfFinished(segment);
  }

  /** Removes a segment from the set. The file stays. */
  remove(segment: Segment): void {
    this.seal(segment);
    this.#segments.delete(segment.id);
    this.#changed.delete(segment);
  }

  #sealFull(group: SegmentGroup): void {
    for (const segment of group.writable) {
      if (segment.isSealed || segment.bytes >= group.segmentBytes) this.seal(segment);
    }
    // The limit is exceeded if several segments were reserved at once, or if new bodies did not fit into the writable
    // segments. Segments that are reserved for a body of unknown length do not count.
    while (group.writable.length > group.maxWritable) {
      this.seal(group.writable.reduce((fullest, each) => (each.end > fullest.end ? each : fullest)));
    }
  }

  #createWritable(group: SegmentGroup): Segment {
    const segment = this.#create(group);
    group.writable.push(segment);
    return segment;
  }

  #create(group: SegmentGroup): Segment {
    const id = this.#nextId++;
    const segment = new Segment(id, segmentPath(this.#directory, id), group, this.#mode, 0, NO_COUNTS, 0);
    this.#segments.set(id, segment);
    return segment;
  }
}

/** Closes the descriptor of a segment if it is sealed and has no pending regions. */
function closeIfFinished(segment: Segment): void {
  // Linux releases the descriptor even if close(2) fails.
  if (segment.isSealed && segment.pendingRegions === 0) segment.closeHandle().catch(() => {});
}
