import { type BigIntStats, close, fstatSync, read } from 'node:fs';
import type { FileArtifact } from '../contract/artifact.js';
import type { Bindings } from './bindings.js';
import type { CopyTarget } from './libc.js';
import type { Mapping } from './mapper.js';
import { canTrustMincore } from './residency.js';

/**
 * A file is mapped in parts of this many bytes, each at a multiple of it: a mapping is made once and used by all
 * requests, those for other regions of a large file included.
 */
export const SPAN_BYTES = 256 * 1024 * 1024;

/** Lent parts are counted in pieces of this many bytes, so that several responses on one piece count once. */
const PIECE_BYTES = 64 * 1024;

/** Why a window cannot come from a mapping of the file. */
export type MapRefusal =
  | 'no-mapper'
  | 'untrusted'
  | 'out-of-reach'
  | 'map-limit'
  | 'map-failed'
  | 'truncated'
  | 'not-resident';

/** A window of a mapping, or why there is none. */
export type MappedBytes = { readonly bytes: Uint8Array } | MapRefusal;

/** One open descriptor and what is mapped of it. `OpenFiles` makes, shares and closes them. */
export class OpenFile {
  readonly path: string;
  readonly root: string | undefined;
  /** Strong: it tells inode, size and modification time in nanoseconds. As of the last look, like the next two. */
  etag = '';
  /** The modification time, in seconds and as HTTP writes it. */
  lastModified = { seconds: 0, text: '' };
  /** Bytes. */
  size = 0;
  /** Start of the last successful comparison with the file at `path`, by `performance.now()`. */
  checkedAt = 0;
  /** Time of the last `OpenFiles.expire`, by `performance.now()`. A comparison that began earlier does not count. */
  expiredAt = Number.NEGATIVE_INFINITY;
  /** Time of the last `OpenFiles.acquire`, by `performance.now()`. */
  usedAt: number;
  /** Comparison in flight. */
  checking: Promise<boolean> | undefined;
  /** Whether the file system can say what is in the page cache while copying it. Assumed until it refuses. */
  canCopyResident: boolean;

  readonly #fd: number;
  readonly #bindings: Bindings;
  readonly #identity: BigIntStats;
  /** Names that it had at the last look. */
  #links = 0n;
  readonly #onClosed: () => void;
  readonly #mappings = new Map<number, Mapping>();
  /** How many responses each piece of the file is lent to. */
  #lent = new Uint32Array(0);
  /** What refuses every mapping of this file. */
  #refusal: MapRefusal | undefined;
  #users = 0;
  #retired = false;

  /** @param openedAt time before the file was opened, by `performance.now()` */
  constructor(
    artifact: FileArtifact,
    fd: number,
    stats: BigIntStats,
    openedAt: number,
    bindings: Bindings,
    onClosed: () => void,
  ) {
    this.path = artifact.path;
    this.root = artifact.root;
    this.#onClosed = onClosed;
    this.#fd = fd;
    this.#identity = stats;
    this.#bindings = bindings;
    this.update(stats, openedAt);
    this.usedAt = openedAt;
    this.canCopyResident = bindings.libc !== undefined;
    this.#refusal = bindings.mapper === undefined ? 'no-mapper' : canTrustMincore(stats) ? undefined : 'untrusted';
  }

  get isIdle(): boolean {
    return this.#users === 0;
  }

  /** Counts one more user: a response, or a read in flight. Each gives itself back by {@link leave}, once. */
  enter(): void {
    this.#users++;
  }

  leave(): void {
    if (--this.#users === 0 && this.#retired) this.#close();
  }

  /** Closes the descriptor now, or with its last user. A mapping goes when nobody can reach it. */
  retire(): void {
    if (this.#retired) return;
    this.#retired = true;
    if (this.#users === 0) this.#close();
  }

  #close(): void {
    this.#mappings.clear();
    // Asynchronous: the last close of an unlinked file frees its blocks. Linux frees the number whatever it answers.
    close(this.#fd, () => this.#onClosed());
  }

  /** Updates the file from a stat that began at `startedAt`, by `performance.now()`. */
  update(stats: BigIntStats, startedAt: number): void {
    this.size = Number(stats.size);
    this.#links = stats.nlink;
    this.etag = `"${stats.ino.toString(36)}-${stats.size.toString(36)}-${stats.mtimeNs.toString(36)}"`;
    const seconds = Math.floor(Number(stats.mtimeMs) / 1000);
    this.lastModified = { seconds, text: new Date(seconds * 1000).toUTCString() };
    this.checkedAt = startedAt;
  }

  /**
   * Whether `now`, a stat of the path, still is this file. An immutable one may have grown, any other must be as it was.
   */
  isSame(now: BigIntStats, immutable: boolean): boolean {
    const then = this.#identity;
    if (now.ino !== then.ino || now.dev !== then.dev) return false;
    return immutable ? now.size >= then.size : now.size === then.size && now.mtimeNs === then.mtimeNs;
  }

  /**
   * Whether it has been written to, deleted or replaced since the last look. A look at the descriptor: no disk and no path,
   * some 0.7 us. What is renamed over, or deleted, has a name less.
   */
  get hasChanged(): boolean {
    const { size, mtimeNs, nlink } = fstatSync(this.#fd, { bigint: true });
    return size !== this.#identity.size || mtimeNs !== this.#identity.mtimeNs || nlink !== this.#links;
  }

  /** Whether what it held when it was opened may have been written over since. What is only appended to has grown. */
  get isRewritten(): boolean {
    const { size, mtimeNs } = fstatSync(this.#fd, { bigint: true });
    return mtimeNs !== this.#identity.mtimeNs && size <= this.#identity.size;
  }

  /**
   * Copies what is in the page cache of `length` bytes at `position`. Returns the bytes copied: 0 where the first is not
   * there, or where nobody can tell without waiting.
   */
  copyResident(target: CopyTarget, length: number, position: number): number {
    const { libc } = this.#bindings;
    if (!this.canCopyResident || libc === undefined) return 0;
    const copied = libc.copyResident(this.#fd, target, length, position);
    if (copied >= 0) return copied;
    this.canCopyResident = false;
    return 0;
  }

  /** Reads on the thread pool. Resolves to the bytes read, 0 at the end of the file. Holds the descriptor meanwhile. */
  read(memory: Uint8Array, length: number, position: number): Promise<number> {
    this.enter();
    return new Promise((resolve, reject) => {
      read(this.#fd, memory, 0, length, position, (error, bytesRead) => {
        this.leave();
        if (error) reject(error);
        else resolve(bytesRead);
      });
    });
  }

  /** The end of what may be mapped: some file systems answer wrongly for the last page when it is not full. */
  get mappableEnd(): number {
    return this.canCopyResident ? this.size - (this.size % this.#bindings.pageSize) : this.size;
  }

  /**
   * The bytes from `start` to `end` of the file as they stand in the page cache. Both lie in one span. Nothing waits for a
   * disk: it is refused unless the file still covers the window and each of its pages is resident now.
   */
  mapped(start: number, end: number): MappedBytes {
    const mapping = this.#refusal ?? this.#mapping(start, end);
    if (typeof mapping === 'string') return mapping;
    // Pages past a new end of the file may still be reported as resident, and touching one is a SIGBUS.
    if (this.#sizeNow() < end) return 'truncated';
    const offset = start % SPAN_BYTES;
    const length = end - start;
    if (!this.#isResident(mapping, offset, length)) return 'not-resident';
    const { buffer, byteOffset } = mapping.bytes;
    return { bytes: new Uint8Array(buffer, byteOffset + offset, length) };
  }

  /** Whether a window that has been mapped before is resident now. Touches no page and starts no read. */
  isResident(start: number, end: number): boolean {
    const spanStart = start - (start % SPAN_BYTES);
    const mapping = this.#mappings.get(spanStart / SPAN_BYTES);
    const mappedEnd = Math.min(end, this.mappableEnd, spanStart + (mapping?.bytes.byteLength ?? 0));
    return (
      mapping !== undefined && start < mappedEnd && this.#isResident(mapping, start - spanStart, mappedEnd - start)
    );
  }

  #isResident(mapping: Mapping, offset: number, length: number): boolean {
    const pageStart = offset - (offset % this.#bindings.pageSize);
    return mapping.isResident(pageStart, offset + length - pageStart);
  }

  #sizeNow(): number {
    const { libc } = this.#bindings;
    return libc === undefined ? fstatSync(this.#fd).size : libc.sizeOf(this.#fd);
  }

  #mapping(start: number, end: number): Mapping | MapRefusal {
    const index = Math.floor(start / SPAN_BYTES);
    const spanStart = index * SPAN_BYTES;
    const existing = this.#mappings.get(index);
    // A file that has grown is mapped again: the mapping that was goes with its last window.
    if (existing !== undefined && spanStart + existing.bytes.byteLength >= end) return existing;
    const mapping = this.#bindings.map(this.#fd, spanStart, Math.min(SPAN_BYTES, this.size - spanStart));
    if (mapping === 'map-failed') this.#refusal = mapping;
    if (typeof mapping !== 'string') this.#mappings.set(index, mapping);
    return mapping;
  }

  /** Counts the pieces of a window as lent, and returns how many bytes of them were not lent already. */
  lend(start: number, end: number): number {
    const last = Math.ceil(end / PIECE_BYTES);
    if (last > this.#lent.length) this.#lent = enlarged(this.#lent, Math.ceil(this.size / PIECE_BYTES));
    let added = 0;
    for (let piece = Math.floor(start / PIECE_BYTES); piece < last; piece++) {
      const lent = this.#lent[piece] ?? 0;
      if (lent === 0) added += PIECE_BYTES;
      this.#lent[piece] = lent + 1;
    }
    return added;
  }

  /** Takes back what {@link lend} counted, and returns how many bytes nobody has any more. */
  takeBack(start: number, end: number): number {
    const last = Math.ceil(end / PIECE_BYTES);
    let freed = 0;
    for (let piece = Math.floor(start / PIECE_BYTES); piece < last; piece++) {
      const lent = this.#lent[piece] ?? 0;
      if (lent === 1) freed += PIECE_BYTES;
      this.#lent[piece] = lent - 1;
    }
    return freed;
  }
}

function enlarged(counts: Uint32Array, length: number): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(length);
  larger.set(counts);
  return larger;
}
