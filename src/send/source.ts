import type { Exchange, ResponseHeaders } from '../contract/exchange.js';
import type { Connection } from './connection.js';
import type { Leases } from './leases.js';
import type { SourceName, Tally } from './tally.js';

/** Part of a response body, ready to be written. */
export interface Window {
  /** Buffers to write, in order. */
  readonly chunks: readonly Uint8Array[];
  /** Number of bytes in all chunks. */
  readonly length: number;
  readonly source: SourceName;
  /** Returns the leases of the window. Called once, when nothing can read its chunks any more. */
  release(): void;
}

/** Producer of the windows of one response, in order. */
export interface Source {
  /**
   * Returns the window at `position`, of 1 to `length` bytes, or undefined at the end of a source of unknown length. Rejects if the
   * bytes cannot be read.
   */
  next(position: number, length: number): Window | undefined | Promise<Window | undefined>;
  /** Releases the source. Called once, after the last call of `next`. */
  close(): void;
}

/** Bookkeeping of a response, as the send loop needs it. */
export interface SendRecord {
  readonly tally: Tally;
  /** Called directly before the headers of an artifact are sent; may add headers. `source` is that of the first window. */
  beforeHeaders(headers: ResponseHeaders, source: SourceName | undefined): void;
}

/** Context of the transfer of one response body. */
export interface Transfer {
  readonly exchange: Exchange;
  readonly connection: Connection;
  readonly leases: Leases;
  readonly record: SendRecord;
}
