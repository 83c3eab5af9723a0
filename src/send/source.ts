import type { Exchange, ResponseHeaders } from '../contract/exchange.js';
import type { Connection } from './connection.js';
import type { Leases } from './leases.js';
import type { SourceName, Tally } from './tally.js';

/** Part of a response body, ready to be written. */
export interface Window {
  /** Chunks to write, in order. */
  readonly chunks: readonly Uint8Array[];
  /** Number of bytes in all chunks. */
  readonly length: number;
  readonly source: SourceName;
  /** Releases the buffer and the leases of the window. Called once, when nothing can read the chunks any more. */
  release(): void;
}

/** Produces the windows of one response, in order. */
export interface Source {
  /**
   * Returns the window at `position`. It has 1 to `length` bytes. A window that was read ahead may be longer. At the end
   * of a source of unknown length, returns undefined. Throws or rejects if the bytes cannot be read.
   */
  next(position: number, length: number): Window | undefined | Promise<Window | undefined>;
  /** Releases the source. Called once, after the last call of `next`. */
  close(): void;
}

/** Part of a response's record that `send()` uses. */
interface SendRecord {
  readonly tally: Tally;
  /**
   * Called directly before the headers of an artifact are sent. May add headers. `source` is the source of the first
   * window.
   */
  beforeHeaders(headers: ResponseHeaders, source: SourceName | undefined): void;
}

/** Objects that are needed to send one response body. */
export interface Transfer {
  readonly exchange: Exchange;
  readonly connection: Connection;
  readonly leases: Leases;
  readonly record: SendRecord;
}
