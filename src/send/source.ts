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
  /** Releases the buffers and mapped bytes of the window. Called once, when nothing can read its chunks any more. */
  release(): void;
}

/** Produces the windows of one response, in order. */
export interface Source {
  /**
   * Returns the window at `position`, of 1 to `length` bytes, or undefined at the end of a source of unknown length.
   * Throws or rejects if the bytes cannot be read.
   */
  next(position: number, length: number): Window | undefined | Promise<Window | undefined>;
  /** Releases the source. Called once, after the last call of `next`. */
  close(): void;
}

/** Record of a response, as far as `send()` uses it. */
export interface SendRecord {
  readonly tally: Tally;
  /** Called directly before the headers of an artifact are sent. May add headers. `source`: that of the first window. */
  beforeHeaders(headers: ResponseHeaders, source: SourceName | undefined): void;
}

/** Objects that the transfer of one response body uses. */
export interface Transfer {
  readonly exchange: Exchange;
  readonly connection: Connection;
  readonly leases: Leases;
  readonly record: SendRecord;
}
