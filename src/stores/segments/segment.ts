import { constants } from 'node:fs';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errnoCode } from '../../contract/errors.js';
import { releaseFile } from '../../page-cache/release-file.js';
import { retryIfFull } from '../disk-full.js';
import type { SegmentGroup } from './segment-groups.js';
import { WrittenRanges } from './written-ranges.js';

/**
 * Totals of a segment. They are also stored in the index, so that a store can be opened without a scan of its entries.
 */
export interface SegmentCounts {
  /** Total length of the bodies in the file that the index refers to, in bytes. */
  readonly liveBytes: number;
  /** Number of those bodies, plus the number of inline bodies of the segment. */
  readonly liveCount: number;
  /** Estimated size of their index entries in bytes. */
  readonly indexBytes: number;
}

export const NO_COUNTS: SegmentCounts = { liveBytes: 0, liveCount: 0, indexBytes: 0 };

/** IOV_MAX on Linux, macOS and the BSDs: the maximum number of buffers of one writev(2). */
const IOV_MAX = 1024;

/**
 * Segment file. Bytes to which the index refers never change. Space is freed only by unlinking the whole file.
 *
 * A writer reserves a region at the end before it writes, so that several bodies can be written at the same time. If
 * the last region belongs to a failed upload, the region is reused, because the index never referred to it.
 */
export class Segment {
  readonly id: number;
  readonly path: string;
  /** Group of the artifacts in the segment. */
  group: SegmentGroup;
  /** Whether the segment may have artifacts of several groups, because it was written with other rules. */
  isMixed = false;
  /** Whether the index has the group. */
  isGroupStored = false;
  /** Time before which no artifact of the segment expires, in milliseconds since 1970. */
  nextExpiry = 0;
  /** Offset of the next region, in bytes. */
  end: number;
  counts: SegmentCounts;
  /**
   * Number of inline bodies that were ever assigned to this segment. It determines the offset of the next inline body.
   */
  inlineCount: number;
  /** Whether the segment accepts no further bodies. */
  isSealed = false;
  /** Number of regions that are neither in the index nor discarded. */
  pendingRegions = 0;
  /** Error of the first failed sync. Bytes written after the last successful sync may be lost. */
  syncError: unknown;
  /** Whether bytes were written since the last sync. */
  isDirty = false;
  /** Written bytes of the file, which failed uploads may have left after {@link end}. */
  readonly #written = new WrittenRanges();

  /** Mode of the file when it is created. */
  readonly #mode: number;
  /**
   * Number of bytes of a region that have not been written yet, by start offset of the region. They take no space on
   * the disk.
   */
  readonly #holes = new Map<number, number>();
  #holeBytes = 0;
  /** Freed regions that are not the last one: start offset by end offset. */
  readonly #freedRegions = new Map<number, number>();
  #handle: Promise<FileHandle> | undefined;
  /** Whether the directory entry of the file is on the disk. */
  #isNameSynced: boolean;

  /** @param end current size of the file, or 0 if the file does not exist yet */
  constructor(
    id: number,
    path: string,
    group: SegmentGroup,
    mode: number,
    end: number,
    counts: SegmentCounts,
    inlineCount: number,
  ) {
    this.id = id;
    this.group = group;
    this.path = path;
    this.#mode = mode;
    this.end = end;
    this.#written.add(0, end);
    this.counts = counts;
    this.inlineCount = inlineCount;
    this.#isNameSynced = end > 0;
  }

  /** Number of bytes of the file that take space on the disk, including dead bytes. */
  get fileBytes(): number {
    return this.end - this.#holeBytes;
  }

  /** Disk usage in bytes: of the file, and of the index entries of its live bodies. */
  get bytes(): number {
    return this.fileBytes + this.counts.indexBytes;
  }

  /** Reserves `length` bytes, which count as written, and returns their offset. */
  reserve(length: number): number {
    const offset = this.end;
    this.end += length;
    return offset;
  }

  /** Reserves a region of `length` bytes that count only when {@link fill} announces them. Returns its offset. */
  reserveHole(length: number): number {
    const offset = this.reserve(length);
    this.#setHole(offset, length);
    return offset;
  }

  /** Announces that `length` more bytes of the region at `offset` are about to be written. */
  fill(offset: number, length: number): void {
    this.#setHole(offset, (this.#holes.get(offset) ?? 0) - length);
  }

  /**
   * Frees a region to which the index never referred. The space is reused when all regions after it are free too.
   * Without this, repeatedly failing uploads would fill the disk.
   */
  freeRegion(offset: number, length: number): void {
    if (this.isSealed || length === 0) return;
    this.#freedRegions.set(offset + length, offset);
    for (;;) {
      const start = this.#freedRegions.get(this.end);
      if (start === undefined) return;
      this.#freedRegions.delete(this.end);
      this.#setHole(start, 0);
      this.end = start;
    }
  }

  /** Returns the number of bytes by which a write of `length` bytes at `position` increases the disk usage. */
  growthOf(position: number, length: number): number {
    return this.#written.unwrittenBytes(position, position + length);
  }

  /** Writes all `chunks` consecutively, starting at `position`. */
  write(chunks: readonly Uint8Array[], position: number): Promise<void> {
    return retryIfFull(() => this.#write(chunks, position));
  }

  async #write(chunks: readonly Uint8Array[], position: number): Promise<void> {
    this.isDirty = true;
    const handle = await this.#open();
    let written = 0;
    if (chunks.length > 1) {
      for (let first = 0, partPosition = position; first < chunks.length; first += IOV_MAX) {
        const part = chunks.slice(first, first + IOV_MAX);
        const partBytes = part.reduce((sum, chunk) => sum + chunk.byteLength, 0);
        const { bytesWritten } = await handle.writev(part, partPosition);
        written += bytesWritten;
        this.#written.add(position, position + written);
        if (bytesWritten < partBytes) break;
        partPosition += partBytes;
      }
    }
    // A nearly full disk accepts only a part of the bytes. The rest is written chunk by chunk, which succeeds or fails
    // with the actual error.
    let start = 0;
    for (const chunk of chunks) {
      for (let done = Math.max(0, written - start); done < chunk.byteLength; ) {
        done += (await handle.write(chunk, done, chunk.byteLength - done, position + start + done)).bytesWritten;
        this.#written.add(position + start, position + start + done);
      }
      start += chunk.byteLength;
    }
  }

  /** Resolves when all written bytes and the name of the file are on the disk. */
  async sync(): Promise<void> {
    if (this.syncError !== undefined) throw this.syncError;
    try {
      const handle = await this.#open();
      this.isDirty = false;
      await handle.datasync();
      if (!this.#isNameSynced) await syncDirectory(dirname(this.path));
      this.#isNameSynced = true;
    } catch (error) {
      // The error is kept: Linux reports a failed write-back only once and then treats the pages as clean (fsync(2)),
      // so a second sync would succeed.
      this.syncError ??= error;
      this.isSealed = true;
      throw error;
    }
  }

  /**
   * Reads `length` bytes at `offset`.
   *
   * @throws RangeError if the file is too short
   * @throws the error of the system call
   */
  async read(offset: number, length: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafeSlow(length);
    const handle = await this.#open();
    for (let done = 0; done < length; ) {
      const { bytesRead } = await handle.read(bytes, done, length - done, offset + done);
      if (bytesRead === 0)
        throw new RangeError(
          `segment file: expected at least ${offset + length} bytes, but the file is shorter: ${this.path}`,
        );
      done += bytesRead;
    }
    return bytes;
  }

  /** Closes the descriptor. The next use opens it again. */
  async closeHandle(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    await handle?.then(
      (opened) => opened.close(),
      () => {}, // opening failed
    );
  }

  /** Unlinks the file. Readers that have the file open can still read it. */
  async unlink(): Promise<void> {
    await this.closeHandle();
    await unlink(this.path).catch((error: unknown) => {
      if (errnoCode(error) !== 'ENOENT') throw error;
    });
    await releaseFile(this.path);
  }

  #setHole(offset: number, bytes: number): void {
    this.#holeBytes += bytes - (this.#holes.get(offset) ?? 0);
    if (bytes === 0) this.#holes.delete(offset);
    else this.#holes.set(offset, bytes);
  }

  #open(): Promise<FileHandle> {
    if (this.#handle === undefined) {
      // The file is created only if the segment is new: a file that has disappeared must not reappear empty. It is
      // opened without O_APPEND, because with O_APPEND Linux ignores the position of a write (pwrite(2)).
      const flags = this.#isNameSynced ? constants.O_RDWR : constants.O_RDWR | constants.O_CREAT;
      const handle = open(this.path, flags, this.#mode);
      handle.catch(() => {
        if (this.#handle === handle) this.#handle = undefined;
      });
      this.#handle = handle;
    }
    return this.#handle;
  }
}

/** Syncs a directory, so that the names in it survive a system crash. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r').catch((error: unknown) => {
    // Windows cannot open a directory, and NTFS journals file names anyway.
    if (process.platform === 'win32') return undefined;
    throw error;
  });
  await handle?.sync().finally(() => handle.close());
}
