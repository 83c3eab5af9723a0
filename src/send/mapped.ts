import { SPAN_BYTES } from '../page-cache/mapped-spans.js';
import type { MappedBytes, OpenFile } from '../page-cache/open-file.js';
import type { PooledBuffer } from './buffer-pool.js';
import type { Transfer, Window } from './source.js';
import type { UnmappedReason } from './tally.js';

/** Artifact size below which a copy is as fast as a mapping. */
const SMALL_BYTES = 64 * 1024;

/** Connections on which files are mapped: those without TLS (`auto`), all (`always`) or none (`never`). */
export type MapPolicy = 'auto' | 'always' | 'never';

/** File region that a response sends. */
export interface Region {
  readonly file: OpenFile;
  /** Position in the file at which the response ends. Nothing beyond it is read. */
  readonly end: number;
  /** Size of the whole artifact in bytes. */
  readonly size: number;
  readonly immutable: boolean;
  /** Whether the artifact is a part of the file, so that bytes may be appended after it while it is sent. */
  readonly isPart: boolean;
}

/**
 * Returns the reason why no window of a response may be mapped. Returns undefined if windows may be mapped; this is
 * then decided for each window.
 *
 * @param isRequired whether small artifacts may be mapped too
 */
export function unmappedReason(
  transfer: Transfer,
  region: Region,
  policy: MapPolicy,
  isRequired: boolean,
): UnmappedReason | undefined {
  const { exchange, leases } = transfer;
  if (policy === 'never') return 'off';
  // Without preadv2, the alternative to a mapping is a read on the thread pool, so small artifacts are mapped as well.
  if (region.size < SMALL_BYTES && region.file.canCopyResident && !isRequired) return 'small';
  if (!region.immutable) return 'mutable';
  if (!exchange.tracked) return 'untracked';
  if (!exchange.plain && policy !== 'always') return 'tls';
  if (region.size > leases.maxMappedBytes) return 'large';
  return undefined;
}

/**
 * Returns a mapped window, which the kernel sends directly from the page cache, or the reason why mapping is not
 * possible. The residency of the pages is checked directly before the write, so that they are very unlikely to be
 * evicted before it.
 */
export function mapWindow(transfer: Transfer, region: Region, start: number, length: number): Window | UnmappedReason {
  const { connection, leases } = transfer;
  const { file } = region;
  if (leases.pressure.level !== 'normal') return 'pressure';
  const windowEnd = start + connection.availableBytes(length);
  const end = Math.min(windowEnd, file.mappableEnd, (Math.floor(start / SPAN_BYTES) + 1) * SPAN_BYTES);
  if (end <= start) return 'tail';
  if (!leases.leaseMapped(file, start, end)) return 'pool';
  const mapped = file.mapped(start, end);
  if (typeof mapped === 'string') {
    leases.releaseMapped(file, start, end);
    return mapped;
  }
  const hasTail = end < windowEnd && end === file.mappableEnd;
  const tail = hasTail ? copyTail(transfer, file, end, windowEnd - end) : undefined;
  return new MappedWindow(transfer, file, start, end, mapped, tail, tail === undefined ? 0 : windowEnd - end);
}

/** Window of mapped pages. If it includes the partial last page of the file, that page is in a buffer. */
class MappedWindow implements Window {
  readonly chunks: readonly Uint8Array[];
  readonly length: number;
  readonly source = 'mapped';
  readonly #transfer: Transfer;
  readonly #file: OpenFile;
  readonly #start: number;
  readonly #end: number;
  readonly #mapped: MappedBytes;
  readonly #tail: PooledBuffer | undefined;
  readonly #sharedBytes: number;

  constructor(
    transfer: Transfer,
    file: OpenFile,
    start: number,
    end: number,
    mapped: MappedBytes,
    tail: PooledBuffer | undefined,
    tailLength: number,
  ) {
    const { bytes } = mapped;
    this.chunks = tail === undefined ? [bytes] : [bytes, tail.memory.subarray(0, tailLength)];
    this.length = end - start + tailLength;
    this.#transfer = transfer;
    this.#file = file;
    this.#start = start;
    this.#end = end;
    this.#mapped = mapped;
    this.#tail = tail;
    this.#sharedBytes = transfer.connection.reserve(this.length);
  }

  release(): void {
    const { connection, leases } = this.#transfer;
    connection.release(this.length, this.#sharedBytes);
    leases.releaseMapped(this.#file, this.#start, this.#end);
    this.#file.releaseMapped(this.#mapped);
    if (this.#tail !== undefined) leases.releaseBuffer(connection, this.#tail, true);
  }
}

/** Copies the partial last page of a file, so that one write sends it together with the pages before it. */
function copyTail(transfer: Transfer, file: OpenFile, start: number, length: number): PooledBuffer | undefined {
  const { connection, leases } = transfer;
  const buffer = leases.acquireBuffer(connection, length);
  if (buffer === undefined) return undefined;
  if (file.copyResident(buffer, length, start) === length) return buffer;
  leases.releaseBuffer(connection, buffer, true);
  return undefined;
}
