import type { ResponseHeaders } from '../contract/exchange.js';
import type { MapRefusal } from '../page-cache/open-file.js';

/** Where bytes come from: memory, a mapping, a copy from the page cache, a read, or a store's stream. */
export type SourceName = 'bytes' | 'mapped' | 'copied' | 'read' | 'stream';

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

/** Bytes that have left the process. */
export type BytesBySource = Record<SourceName, number>;

/** Nothing sent yet. */
export function noBytes(): BytesBySource {
  return { bytes: 0, mapped: 0, copied: 0, read: 0, stream: 0 };
}

/** Where most of a response came from; undefined where no byte of an artifact has left. */
export function mainSource(bytes: Readonly<BytesBySource>): SourceName | undefined {
  let main: SourceName | undefined;
  let most = 0;
  for (const source of SOURCES) {
    if (bytes[source] <= most) continue;
    most = bytes[source];
    main = source;
  }
  return main;
}

const SOURCES = Object.keys(noBytes()) as SourceName[]; // its keys

/** What came from one source. */
export interface Count {
  /** Writes. */
  windows: number;
  /** Of all of them. */
  bytes: number;
}

/** What all responses have sent. */
export interface Totals {
  readonly sent: Readonly<Record<SourceName, Count>>;
  readonly unmapped: Map<UnmappedReason, number>;
}

/** What one response has sent so far; adds to the totals as it goes. */
export class Tally {
  readonly bytes = noBytes();
  /** When the headers of an artifact left, by `performance.now()`; 0 before. */
  begunAt = 0;
  readonly #totals: Totals;

  constructor(totals: Totals) {
    this.#totals = totals;
  }

  /** The headers leave; the first window, from `source`, follows. May add to them. */
  begin(_headers: ResponseHeaders, _source: SourceName | undefined): void {
    this.begunAt = performance.now();
  }

  /** Counts a window that has left the process. */
  add(source: SourceName, length: number): void {
    this.bytes[source] += length;
    const total = this.#totals.sent[source];
    total.windows++;
    total.bytes += length;
  }

  unmapped(reason: UnmappedReason): void {
    this.#totals.unmapped.set(reason, (this.#totals.unmapped.get(reason) ?? 0) + 1);
  }
}
