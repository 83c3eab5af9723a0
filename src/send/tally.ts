import type { MapRefusal } from '../page-cache/open-file.js';
import type { SourceName } from './source.js';

/** Why a response, or a window of it, was not mapped. */
export type UnmappedReason =
  | MapRefusal
  /** The option `map` is `'never'`, or another source is forced. */
  | 'off'
  /** TLS reads the pages in user space: a file that is cut off would end the process. */
  | 'tls'
  /** Somebody has replaced the response's `write`, so that nobody knows when the bytes have left. */
  | 'untracked'
  /** The store does not promise that the file is immutable. */
  | 'mutable'
  /** Memory is not at ease. */
  | 'pressure'
  /** Copies are as fast. */
  | 'small'
  /** The artifact is larger than the serving pool. */
  | 'large'
  /** What is left of the file is its last page, and that one is not full. */
  | 'tail'
  /** The serving pool has lent all it has. */
  | 'pool';

export type BytesBySource = Record<SourceName, number>;

/** Nothing sent yet. */
export function noBytes(): BytesBySource {
  return { bytes: 0, mapped: 0, copied: 0, read: 0, stream: 0 };
}

/** What one response has sent so far, and the handler's counters that it adds to. */
export class Tally {
  readonly bytes = noBytes();
  readonly #windows: BytesBySource;
  readonly #total: BytesBySource;
  readonly #unmapped: Map<UnmappedReason, number>;

  constructor(windows: BytesBySource, total: BytesBySource, unmapped: Map<UnmappedReason, number>) {
    this.#windows = windows;
    this.#total = total;
    this.#unmapped = unmapped;
  }

  /** Counts a window of one source that has left the process. */
  sent(source: SourceName, length: number): void {
    this.bytes[source] += length;
    this.#total[source] += length;
    this.#windows[source]++;
  }

  unmapped(reason: UnmappedReason): void {
    this.#unmapped.set(reason, (this.#unmapped.get(reason) ?? 0) + 1);
  }
}
