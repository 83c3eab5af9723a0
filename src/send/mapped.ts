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
  /** Where the artifact ends in the file, in bytes. */
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
  if (region.size > leases.pressure.headroomBytes) return 'large';
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
  const grant = connection.grant((tail === undefined ? end : wanted) - start);
  return {
    chunks: tail === undefined ? [mapped.bytes] : [mapped.bytes, tail.memory.subarray(0, wanted - end)],
    length: grant.bytes,
    source: 'mapped',
    release() {
      connection.settle(grant);
      leases.takeBackMapped(file, start, end);
      if (tail !== undefined) leases.giveBuffer(connection, tail, true);
    },
  };
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
