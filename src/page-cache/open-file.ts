import { type BigIntStats, close, fstat, fstatSync, read } from 'node:fs';
import type { FileArtifact } from '../contract/artifact.js';
import { httpDate } from '../http/http-date.js';
import type { Bindings } from './bindings.js';
import { type EntityTags, entityTagsOf, isRewritten, isSameVersion } from './file-version.js';
import type { CopyTarget } from './libc.js';
import { MappedSpans, SPAN_BYTES, type Span } from './mapped-spans.js';
import type { Mapping } from './mapper.js';
import { canTrustMincore } from './residency.js';

/** Size of the units in which leases are counted. A unit that several responses lease counts once. */
const LEASE_UNIT_BYTES = 64 * 1024;

/** Reason why a window cannot be sent from a mapping of the file. */
export type MapRefusal =
  /** No binding that maps files can be loaded. */
  | 'no-mapper'
  /** The kernel does not report which pages of this file are resident, because another user owns the file. */
  | 'untrusted'
  /** The window ends after 2 GiB, the limit of `mmap-io`, and `koffi` is not installed. */
  | 'out-of-reach'
  /** The limit on the number of mappings is reached. */
  | 'map-limit'
  /** The kernel refused to map the file. */
  | 'map-failed'
  /** The file is now shorter than the window. */
  | 'truncated'
  /** A page of the window is not in the page cache. */
  | 'not-resident';

/** Bytes of a mapping. The holder calls {@link OpenFile.releaseMapped} when nothing reads them any more. */
export interface MappedBytes {
  readonly bytes: Uint8Array;
  readonly span: Span;
}

/** Body of an artifact that is in memory as long as its file is open. */
export interface KeptBody {
  /** Removes the body from its file. The memory is freed when no response sends it any more. */
  discard(): void;
}

let lastSerial = 0;

/** Open file: its descriptor and its mappings. `OpenFiles` creates, shares and closes it. */
export class OpenFile {
  readonly path: string;
  readonly root: string | undefined;
  // The next three fields are updated at each check of the path.
  /** Strong entity tags. */
  etags: EntityTags = { mutable: '', immutable: '' };
  /** Modification time in seconds, and as an HTTP date. */
  lastModified = { seconds: 0, text: '' };
  /** Size in bytes. */
  size = 0;
  /** Start of the last check that found this file at `path`, by `performance.now()`. */
  checkedAt = 0;
  /** Time of the last call of `OpenFiles.acquire`, by `performance.now()`. */
  usedAt: number;
  /** Check of the path that is in flight. */
  checking: Promise<boolean> | undefined;
  /** Number that no other open file of the process has. */
  readonly serial = ++lastSerial;
  /** Bodies of artifacts in the file that are kept in memory, by offset. {@link retire} discards them. */
  readonly bodies = new Map<number, KeptBody>();
  /** Whether {@link copyResident} works on this file system. True until a copy fails. */
  canCopyResident: boolean;

  readonly #fd: number;
  readonly #bindings: Bindings;
  readonly #identity: BigIntStats;
  readonly #onClosed: () => void;
  readonly #spans: MappedSpans;
  /** Number of leases of each unit of the file. */
  #leases = new Uint32Array(0);
  /** Reason why no part of this file can be mapped. */
  readonly #refusal: 'no-mapper' | 'untrusted' | undefined;
  #references = 0;
  #isRetired = false;
  #isStatInFlight = false;
  #closing: Promise<void> | undefined;

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
    this.#spans = new MappedSpans(bindings, fd);
    this.update(stats, openedAt);
    this.usedAt = openedAt;
    this.canCopyResident = bindings.libc !== undefined;
    this.#refusal = bindings.mapper === undefined ? 'no-mapper' : canTrustMincore(stats) ? undefined : 'untrusted';
  }

  get isIdle(): boolean {
    return this.#references === 0;
  }

  /** Whether {@link retire} was called. */
  get isRetired(): boolean {
    return this.#isRetired;
  }

  /** Adds a reference, for a response, a mapped window or a read in flight. The holder calls {@link release} once. */
  retain(): void {
    this.#references++;
  }

  /** Removes a reference. If the file was retired, the last call closes the descriptor. */
  release(): void {
    this.#references--;
    if (this.#isRetired) this.#closeIfUnused();
  }

  /**
   * Unmaps and closes the file when no reference is left. Returns a promise of the end of that if it has begun, otherwise
   * undefined.
   */
  retire(): Promise<void> | undefined {
    this.#isRetired = true;
    for (const body of this.bodies.values()) body.discard();
    this.#closeIfUnused();
    return this.#closing;
  }

  #closeIfUnused(): void {
    if (this.#references > 0 || this.#isStatInFlight || this.#closing !== undefined) return;
    // Before the descriptor is closed, so that the last close of an unlinked file, which frees its blocks, is asynchronous.
    this.#spans.clear();
    this.#closing = new Promise((resolve) => {
      // Errors are ignored: Linux frees the descriptor even if close fails (close(2)).
      close(this.#fd, () => {
        this.#onClosed();
        resolve();
      });
    });
  }

  /**
   * Resolves to whether no name of the file is left in its file system. The file stays idle meanwhile: if it is retired, its
   * descriptor is closed afterwards. Asynchronous, because fstat can wait for a file server.
   */
  isDeleted(): Promise<boolean> {
    this.#isStatInFlight = true;
    return new Promise((resolve) => {
      fstat(this.#fd, (error, stats) => {
        this.#isStatInFlight = false;
        if (this.#isRetired) this.#closeIfUnused();
        resolve(error === null && stats.nlink === 0);
      });
    });
  }

  /** Updates the fields with the result of a stat that started at `startedAt`, by `performance.now()`. */
  update(stats: BigIntStats, startedAt: number): void {
    this.size = Number(stats.size);
    this.etags = entityTagsOf(stats);
    this.lastModified = httpDate(Number(stats.mtimeMs));
    this.checkedAt = startedAt;
  }

  /**
   * Returns whether the stats of the path describe this file. An immutable file may have grown. Any other file must not
   * have changed.
   */
  isSame(now: BigIntStats, immutable: boolean): boolean {
    const then = this.#identity;
    if (now.ino !== then.ino || now.dev !== then.dev) return false;
    return immutable ? now.size >= then.size : isSameVersion(then, now);
  }

  /**
   * Whether the file has been written to, deleted or replaced since it was opened. Calls fstat on the descriptor, which
   * takes about 0.7 us on a local file system. On a network file system it can wait for the server.
   */
  get hasChanged(): boolean {
    return !isSameVersion(this.#identity, fstatSync(this.#fd, { bigint: true }));
  }

  /**
   * Returns whether the file may have been rewritten in place since it was opened.
   *
   * @param mayGrow whether a file that has grown counts as appended to, not as rewritten
   */
  isRewritten(mayGrow: boolean): boolean {
    const now = fstatSync(this.#fd, { bigint: true });
    return !(mayGrow && now.size > this.#identity.size) && isRewritten(this.#identity, now);
  }

  /**
   * Copies up to `length` bytes at `position`, until the first byte that is not resident. Returns the number of bytes
   * copied: 0 if the first byte is not resident or the file system cannot copy without waiting.
   */
  copyResident(target: CopyTarget, length: number, position: number): number {
    const { libc } = this.#bindings;
    if (!this.canCopyResident || libc === undefined) return 0;
    const copied = libc.copyResident(this.#fd, target, length, position);
    if (copied >= 0) return copied;
    this.canCopyResident = false;
    return 0;
  }

  /**
   * Reads `length` bytes at `position` on the thread pool. Resolves to the number of bytes read, which is 0 at the end
   * of the file.
   */
  read(memory: Uint8Array, length: number, position: number): Promise<number> {
    this.retain();
    return new Promise((resolve, reject) => {
      read(this.#fd, memory, 0, length, position, (error, bytesRead) => {
        this.release();
        if (error) reject(error);
        else resolve(bytesRead);
      });
    });
  }

  /**
   * Position up to which the file can be mapped. A partial last page is copied if possible, because some file systems
   * report its residency wrongly.
   */
  get mappableEnd(): number {
    return this.canCopyResident ? this.size - (this.size % this.#bindings.pageSize) : this.size;
  }

  /**
   * Returns the window from `start` to `end` as a view of the page cache. Both must be in the same span. Returns a
   * refusal if the file has become shorter than the window, or if a page is not resident: reading it would wait for a
   * disk.
   */
  mapped(start: number, end: number): MappedBytes | MapRefusal {
    const span = this.#refusal ?? this.#spans.map(start, end, this.size);
    if (typeof span === 'string') return span;
    const { mapping } = span;
    // After a truncation, mincore may still report pages beyond the end of the file as resident. A read of such a page
    // is a SIGBUS.
    if (this.#sizeNow() < end) return 'truncated';
    const offset = start % SPAN_BYTES;
    const length = end - start;
    if (!this.#isResident(mapping, offset, length)) return 'not-resident';
    const { buffer, byteOffset } = mapping.bytes;
    span.windows++;
    this.retain();
    return { bytes: new Uint8Array(buffer, byteOffset + offset, length), span };
  }

  /** Ends the use of mapped bytes. Nothing may read them any more, neither the process nor the kernel. */
  releaseMapped({ span }: MappedBytes): void {
    this.#spans.releaseWindow(span);
    this.release();
  }

  /** Returns whether a window is mapped and resident now. Touches no page and starts no read. */
  isResident(start: number, end: number): boolean {
    const spanStart = start - (start % SPAN_BYTES);
    const mapping = this.#spans.at(start);
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

  /** Leases the units of a window. Returns the size in bytes of the units that were not leased before. */
  lease(start: number, end: number): number {
    const last = Math.ceil(end / LEASE_UNIT_BYTES);
    if (last > this.#leases.length) this.#leases = enlarged(this.#leases, Math.ceil(this.size / LEASE_UNIT_BYTES));
    let addedBytes = 0;
    for (let unit = Math.floor(start / LEASE_UNIT_BYTES); unit < last; unit++) {
      const count = this.#leases[unit] ?? 0;
      if (count === 0) addedBytes += LEASE_UNIT_BYTES;
      this.#leases[unit] = count + 1;
    }
    return addedBytes;
  }

  /** Reverts one call of {@link lease}. Returns the size in bytes of the units that are no longer leased. */
  releaseLease(start: number, end: number): number {
    const last = Math.ceil(end / LEASE_UNIT_BYTES);
    let freedBytes = 0;
    for (let unit = Math.floor(start / LEASE_UNIT_BYTES); unit < last; unit++) {
      const count = this.#leases[unit] ?? 0;
      if (count === 1) freedBytes += LEASE_UNIT_BYTES;
      this.#leases[unit] = count - 1;
    }
    return freedBytes;
  }
}

function enlarged(counts: Uint32Array, length: number): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(length);
  larger.set(counts);
  return larger;
}
