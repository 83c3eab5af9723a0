import { type OpenFile, SPAN_BYTES } from '../page-cache/open-file.js';
import type { PooledBuffer } from './buffer-pool.js';
import type { Transfer, Window } from './source.js';
import type { UnmappedReason } from './tally.js';

/** Up to this size a copy is as fast as a mapping. */
const SMALL_BYTES = 64 * 1024;

/** When to map: over plain sockets, over TLS too, or not at all. */
export type MapPolicy = 'auto' | 'always' | 'never';

/** A file, and the region of it that is one artifact. */
export interface Region {
  readonly file: OpenFile;
  /** Where what is sent of it ends in the file, in bytes: nothing is read beyond. */
  readonly end: number;
  /** Bytes of the artifact. */
  readonly size: number;
  readonly immutable: boolean;
}

/** Why no window of this response may be mapped; undefined where each window decides for itself. */
export function refusal(
  transfer: Transfer,
  region: Region,
  policy: MapPolicy,
  forced: boolean,
): UnmappedReason | undefined {
  const { exchange, leases } = transfer;
  if (policy === 'never') return 'off';
  // Where nothing can be copied without waiting, a small artifact is mapped if all of it is resident.
  if (region.size < SMALL_BYTES && region.file.canCopyResident && !forced) return 'small';
  if (!region.immutable) return 'mutable';
  if (!exchange.plain && policy !== 'always') return 'tls';
  if (!exchange.tracked) return 'untracked';
  if (region.size > leases.servingPoolBytes) return 'large';
  return undefined;
}

/**
 * A window straight from the page cache: zero-copy. The check of its pages stands directly before the write, so that what
 * can be evicted between the two is bounded by what is in flight.
 */
export function mappedWindow(
  transfer: Transfer,
  region: Region,
  start: number,
  length: number,
): Window | UnmappedReason {
  const { connection, leases } = transfer;
  const { file } = region;
  if (leases.pressure.level !== 'normal') return 'pressure';
  const wanted = start + connection.room(length);
  const end = Math.min(wanted, file.mappableEnd, (Math.floor(start / SPAN_BYTES) + 1) * SPAN_BYTES);
  if (end <= start) return 'tail';
  if (!leases.lendMapped(file, start, end)) return 'pool';
  const mapped = file.mapped(start, end);
  if (typeof mapped === 'string') {
    leases.takeBackMapped(file, start, end);
    return mapped;
  }
  const tail = end < wanted && end === file.mappableEnd ? copiedTail(transfer, file, end, wanted - end) : undefined;
  return new MappedWindow(transfer, file, start, end, mapped.bytes, tail, tail === undefined ? 0 : wanted - end);
}

/** A window of a file's mappings, and perhaps the file's last page in a buffer. */
class MappedWindow implements Window {
  readonly chunks: readonly Uint8Array[];
  readonly length: number;
  readonly source = 'mapped';
  readonly #transfer: Transfer;
  readonly #file: OpenFile;
  readonly #start: number;
  readonly #end: number;
  readonly #tail: PooledBuffer | undefined;
  readonly #surplus: number;

  constructor(
    transfer: Transfer,
    file: OpenFile,
    start: number,
    end: number,
    bytes: Uint8Array,
    tail: PooledBuffer | undefined,
    tailLength: number,
  ) {
    this.chunks = tail === undefined ? [bytes] : [bytes, tail.memory.subarray(0, tailLength)];
    this.length = end - start + tailLength;
    this.#transfer = transfer;
    this.#file = file;
    this.#start = start;
    this.#end = end;
    this.#tail = tail;
    this.#surplus = transfer.connection.grant(this.length);
  }

  release(): void {
    const { connection, leases } = this.#transfer;
    connection.settle(this.length, this.#surplus);
    leases.takeBackMapped(this.#file, this.#start, this.#end);
    if (this.#tail !== undefined) leases.giveBuffer(connection, this.#tail, true);
  }
}

/** The last page of a file, not being full, is copied and leaves together with the pages before it. */
function copiedTail(transfer: Transfer, file: OpenFile, start: number, length: number): PooledBuffer | undefined {
  const { connection, leases } = transfer;
  const buffer = leases.takeBuffer(connection, length);
  if (buffer === undefined) return undefined;
  if (file.copyResident(buffer, length, start) === length) return buffer;
  leases.giveBuffer(connection, buffer, true);
  return undefined;
}
