import type { MapRefusal } from '../page-cache/open-file.js';

/**
 * Source of the bytes of a response: the memory of the process (`bytes`), a mapping (`mapped`), a copy from the page cache
 * (`copied`), a read on the thread pool (`read`), or a stream of the store (`stream`).
 */
export type SourceName = 'bytes' | 'mapped' | 'copied' | 'read' | 'stream';

/** Reason why a response, or a window of it, was not mapped. */
export type UnmappedReason =
  | MapRefusal
  /** The option `map` is `'never'`. */
  | 'off'
  /**
   * The connection uses TLS, which reads the pages in user space. If the file were truncated meanwhile, the process
   * would end.
   */
  | 'tls'
  /**
   * The handler cannot know when the bytes have left the process: middleware has replaced `write`, or the host uses the
   * Fetch API.
   */
  | 'untracked'
  /** The store does not promise that the file is immutable. */
  | 'mutable'
  /** Memory pressure is not `normal`. */
  | 'pressure'
  /** The artifact is so small that a copy is as fast as a mapping. */
  | 'small'
  /** The artifact is larger than the limit on mapped bytes in flight. */
  | 'large'
  /** The rest of the file is a partial page. */
  | 'tail'
  /** The limit on mapped bytes in flight is reached. */
  | 'pool';

/** Number of bytes from each source. */
export type BytesBySource = Record<SourceName, number>;

/** Returns a count of zero for every source. */
function noBytes(): BytesBySource {
  return { bytes: 0, mapped: 0, copied: 0, read: 0, stream: 0 };
}

/** Returns the sum over all sources. */
export function totalBytes({ bytes, mapped, copied, read, stream }: Readonly<BytesBySource>): number {
  return bytes + mapped + copied + read + stream;
}

/** Returns the source from which most bytes came, or undefined if there are no bytes. */
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

// The cast is needed because Object.keys() returns string[].
const SOURCES = Object.keys(noBytes()) as SourceName[];

/** Number of windows and bytes from one source. */
export interface Count {
  /** Number of windows. */
  windows: number;
  /** Number of bytes. */
  bytes: number;
}

/** Counters over all responses of a handler or sender. */
export interface Totals {
  readonly sent: Readonly<Record<SourceName, Count>>;
  readonly unmapped: Map<UnmappedReason, number>;
}

/** Counts the bytes that one response has sent, and adds them to the totals. */
export class Tally {
  readonly bytes = noBytes();
  readonly #totals: Totals;

  constructor(totals: Totals) {
    this.#totals = totals;
  }

  /** Counts a window that has left the process. */
  addWindow(source: SourceName, length: number): void {
    this.bytes[source] += length;
    const total = this.#totals.sent[source];
    total.windows++;
    total.bytes += length;
  }

  /** Counts a response or a window that was not mapped. */
  addUnmapped(reason: UnmappedReason): void {
    this.#totals.unmapped.set(reason, (this.#totals.unmapped.get(reason) ?? 0) + 1);
  }
}
