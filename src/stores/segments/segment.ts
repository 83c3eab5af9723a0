import { constants } from 'node:fs';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { errnoCode } from '../../contract/errors.js';

/** Counted in the index as well, so that nobody has to look for them. */
export interface SegmentCounts {
  /** Bytes of the bodies in the file that can still be asked for. */
  readonly liveBytes: number;
  /** Those, and the inline bodies. */
  readonly liveCount: number;
  /** What their entries take in the index. */
  readonly indexBytes: number;
}

export const NO_COUNTS: SegmentCounts = { liveBytes: 0, liveCount: 0, indexBytes: 0 };

/**
 * One file that is only ever appended to, and unlinked as a whole. Who wants to write reserves a region first, so that
 * many can write at the same time; a region whose body never comes is given back, because nobody was ever sent there.
 */
export class Segment {
  readonly id: number;
  readonly path: string;
  /** Where the next region begins, in bytes. */
  end: number;
  counts: SegmentCounts;
  /** Inline bodies that ever had a place here. */
  inlines: number;
  /** Nobody reserves anything here any more. */
  isSealed = false;
  /** Regions that are neither in the index nor given up. */
  pending = 0;
  /** Why nothing that was written here since the last sync can be trusted to be on the disk. */
  failure: unknown;
  /** Whether something has been written since the last sync. */
  isDirty = false;

  /** Regions that were given back before those behind them: from where they end to where they begin. */
  readonly #free = new Map<number, number>();
  #handle: Promise<FileHandle> | undefined;
  /** Whether the directory is known to hold the name, whatever happens to the system. */
  #isListed: boolean;

  /** @param end what the file has now, or 0 for one that is not there yet */
  constructor(id: number, path: string, end: number, counts: SegmentCounts, inlines: number) {
    this.id = id;
    this.path = path;
    this.end = end;
    this.counts = counts;
    this.inlines = inlines;
    this.#isListed = end > 0;
  }

  /** What it takes on the disk, in bytes: the dead bytes in the file too, but in the index only the living. */
  get bytes(): number {
    return this.end + this.counts.indexBytes;
  }

  /** Reserves `length` bytes and returns where. */
  reserve(length: number): number {
    const offset = this.end;
    this.end += length;
    return offset;
  }

  /**
   * Frees a region to which nobody was ever sent, once all that is reserved behind it is free as well: uploads that fail
   * again and again must not fill the disk.
   */
  giveBack(offset: number, length: number): void {
    if (this.isSealed || length === 0) return;
    this.#free.set(offset + length, offset);
    for (let start = this.#free.get(this.end); start !== undefined; start = this.#free.get(this.end)) {
      this.#free.delete(this.end);
      this.end = start;
    }
  }

  /** Writes all of `chunks`, one behind the other. */
  async write(chunks: readonly Uint8Array[], position: number): Promise<void> {
    this.isDirty = true;
    const handle = await this.#open();
    let written = 0;
    if (chunks.length > 1) {
      for (let first = 0, at = position; first < chunks.length; first += MAX_VECTORS) {
        const part = chunks.slice(first, first + MAX_VECTORS);
        const wanted = part.reduce((sum, chunk) => sum + chunk.byteLength, 0);
        const { bytesWritten } = await handle.writev(part, at);
        written += bytesWritten;
        if (bytesWritten < wanted) break;
        at += wanted;
      }
    }
    // One by one what a disk that is nearly full did not take at once: that tells what is wrong.
    let start = 0;
    for (const chunk of chunks) {
      for (let done = Math.max(0, written - start); done < chunk.byteLength; ) {
        done += (await handle.write(chunk, done, chunk.byteLength - done, position + start + done)).bytesWritten;
      }
      start += chunk.byteLength;
    }
  }

  /** Resolves when everything that has been written is on the disk, and so is the file's name. */
  async sync(): Promise<void> {
    if (this.failure !== undefined) throw this.failure;
    try {
      const handle = await this.#open();
      this.isDirty = false;
      await handle.datasync();
      if (!this.#isListed) await syncDirectory(this.path.slice(0, this.path.lastIndexOf('/')));
      this.#isListed = true;
    } catch (error) {
      // The next sync would succeed: the system reports lost pages once and then takes them for clean.
      this.failure ??= error;
      this.isSealed = true;
      throw error;
    }
  }

  /** Reads a body that lies here. @throws what the system says, and RangeError where the file is too short */
  async read(offset: number, length: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafeSlow(length);
    const handle = await this.#open();
    for (let done = 0; done < length; ) {
      const { bytesRead } = await handle.read(bytes, done, length - done, offset + done);
      if (bytesRead === 0) throw new RangeError(`the file ends before byte ${offset + length}`);
      done += bytesRead;
    }
    return bytes;
  }

  /** Closes the descriptor; the next use opens it again. */
  async release(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    await handle?.then(
      (opened) => opened.close(),
      () => {}, // it has never been opened
    );
  }

  /** Removes the file. Whoever has it open goes on reading. */
  async unlink(): Promise<void> {
    await this.release();
    await unlink(this.path).catch((error: unknown) => {
      if (errnoCode(error) !== 'ENOENT') throw error;
    });
  }

  #open(): Promise<FileHandle> {
    if (this.#handle === undefined) {
      // A file that was there and is gone must not come back empty. Not 'a': Linux then ignores the position of a write.
      const handle = open(this.path, this.#isListed ? constants.O_RDWR : constants.O_RDWR | constants.O_CREAT);
      handle.catch(() => {
        if (this.#handle === handle) this.#handle = undefined;
      });
      this.#handle = handle;
    }
    return this.#handle;
  }
}

/** IOV_MAX of Linux, macOS and the BSDs. */
const MAX_VECTORS = 1024;

/** Makes the names in a directory survive a crash of the system. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r').catch((error: unknown) => {
    // Windows opens no directories; there the name is in a journal.
    if (process.platform === 'win32') return undefined;
    throw error;
  });
  await handle?.sync().finally(() => handle.close());
}
