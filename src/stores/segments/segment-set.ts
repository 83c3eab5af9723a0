import { join } from 'node:path';
import { INLINE_BASE, type Place } from './entry.js';
import { NO_COUNTS, Segment, type SegmentCounts } from './segment.js';

/** Segments that are appended to at the same time, at most; but for those that are lent. */
const MAX_WRITABLE = 4;

/** Where the file of a segment is. */
export function segmentPath(directory: string, id: number): string {
  return join(directory, `${String(id).padStart(10, '0')}.segment`);
}

/** The id in the name of a file; undefined for a file that is not a segment. */
export function segmentIdOf(name: string): number | undefined {
  const digits = /^(\d{10})\.segment$/.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** A part of a segment that one body alone has. */
export interface Region extends Pick<Place, 'offset'> {
  readonly segment: Segment;
  /** Bytes; undefined while its end is not known, so that nobody else may append to the segment. */
  readonly length: number | undefined;
}

/** All segments of a store that writes, and which of them the next body goes to. */
export class SegmentSet {
  readonly #directory: string;
  readonly #segmentBytes: number;
  readonly #segments = new Map<number, Segment>();
  /** The oldest first. */
  #writable: Segment[] = [];
  /** Those that may have become wasteful since somebody looked. */
  readonly #suspects = new Set<Segment>();
  #nextId: number;

  /** @param nextId an id that no segment has ever had */
  constructor(directory: string, segmentBytes: number, nextId: number) {
    this.#directory = directory;
    this.#segmentBytes = segmentBytes;
    this.#nextId = nextId;
  }

  /** Adds a segment that was there before, and writes on in it where it has room. */
  add(segment: Segment): void {
    this.#segments.set(segment.id, segment);
    this.#nextId = Math.max(this.#nextId, segment.id + 1);
    if (segment.isSealed) this.#suspects.add(segment);
    else this.#writable.push(segment);
    this.#sealFull();
  }

  get(id: number): Segment | undefined {
    return this.#segments.get(id);
  }

  get all(): Iterable<Segment> {
    return this.#segments.values();
  }

  /** The segments that something happened to since the last call. */
  takeSuspects(): Segment[] {
    const suspects = [...this.#suspects];
    this.#suspects.clear();
    return suspects;
  }

  /** What the index counts for a segment now. */
  setCounts(id: number, counts: SegmentCounts): void {
    const segment = this.#segments.get(id);
    if (segment === undefined) return; // lost with its file
    segment.counts = counts;
    this.#suspects.add(segment);
  }

  /** What all of them take on the disk, in bytes. */
  get bytes(): number {
    let bytes = 0;
    for (const segment of this.#segments.values()) bytes += segment.bytes;
    return bytes;
  }

  /** How many bodies can be asked for. */
  get artifacts(): number {
    let artifacts = 0;
    for (const segment of this.#segments.values()) artifacts += segment.counts.liveCount;
    return artifacts;
  }

  /** Reserves room for a body of `length` bytes. The region is pending until it is given to {@link settle}. */
  reserve(length: number): Region {
    // A large one gets a file of its own, which can go with it.
    const fits = (segment: Segment): boolean => segment.end + length <= this.#segmentBytes;
    const segment =
      length > this.#segmentBytes / 4 ? this.#create() : (this.#writable.find(fits) ?? this.#createWritable());
    segment.pending++;
    const offset = segment.reserve(length);
    if (length > this.#segmentBytes / 4) segment.isSealed = true;
    this.#sealFull();
    return { segment, offset, length };
  }

  /** Lends a segment to a body of unknown length, which appends to it by `segment.reserve`, until {@link settle}. */
  lend(): Region {
    const segment = this.#writable[0] ?? this.#createWritable();
    this.#writable = this.#writable.filter((each) => each !== segment);
    segment.pending++;
    return { segment, offset: segment.end, length: undefined };
  }

  /** A place for an inline body, pending like a region. */
  reserveInline(): Region {
    const segment = this.#writable[0] ?? this.#createWritable();
    segment.pending++;
    return { segment, offset: INLINE_BASE + ++segment.inlines, length: 0 };
  }

  /** A region is in the index now, or nobody will ever want it. */
  settle({ segment, length }: Region): void {
    segment.pending--;
    this.#suspects.add(segment);
    if (length === undefined && !segment.isSealed) this.#writable.push(segment);
    this.#sealFull();
    releaseIfDone(segment);
  }

  /** As {@link settle}, for a region that the index has never had: its place is free again. */
  giveUp(region: Region): void {
    const { segment, offset, length } = region;
    segment.giveBack(offset, length ?? segment.end - offset);
    this.settle(region);
  }

  /** Ends the writing to a segment. */
  seal(segment: Segment): void {
    segment.isSealed = true;
    this.#suspects.add(segment);
    this.#writable = this.#writable.filter((each) => each !== segment);
    releaseIfDone(segment);
  }

  /** Forgets a segment. */
  remove(segment: Segment): void {
    this.seal(segment);
    this.#segments.delete(segment.id);
    this.#suspects.delete(segment);
  }

  #sealFull(): void {
    for (const segment of this.#writable) {
      if (segment.isSealed || segment.bytes >= this.#segmentBytes) this.seal(segment);
    }
    // Several were lent at once, or each new body was too large for the rest of the others.
    while (this.#writable.length > MAX_WRITABLE) {
      this.seal(this.#writable.reduce((fullest, each) => (each.end > fullest.end ? each : fullest)));
    }
  }

  #createWritable(): Segment {
    const segment = this.#create();
    this.#writable.push(segment);
    return segment;
  }

  #create(): Segment {
    const id = this.#nextId++;
    const segment = new Segment(id, segmentPath(this.#directory, id), 0, NO_COUNTS, 0);
    this.#segments.set(id, segment);
    return segment;
  }
}

/** A descriptor for each segment that was ever written to would be too many. */
function releaseIfDone(segment: Segment): void {
  if (segment.isSealed && segment.pending === 0) segment.release().catch(() => {}); // the descriptor is gone all the same
}
