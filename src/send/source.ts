import type { Exchange } from '../contract/exchange.js';
import type { Connection } from './connection.js';
import type { Leases } from './leases.js';
import type { SourceName, Tally } from './tally.js';

/** A part of an artifact, ready to be written. */
export interface Window {
  /** In order, to be written in one go. */
  readonly chunks: readonly Uint8Array[];
  /** Bytes of all chunks. */
  readonly length: number;
  readonly source: SourceName;
  /** Gives back what the window holds, once nothing can read its chunks any more. Called once. */
  release(): void;
}

/** What hands out the windows of one response, in order. */
export interface Source {
  /**
   * The window at `position`, of at most `length` bytes and at least one; undefined at the end of a source that does not
   * know its length. Rejects when the bytes cannot be had.
   */
  next(position: number, length: number): Window | undefined | Promise<Window | undefined>;
  /** Called once, after the last window has been asked for. */
  close(): void;
}

/** What every step of a response needs to know. */
export interface Transfer {
  readonly exchange: Exchange;
  readonly connection: Connection;
  readonly leases: Leases;
  readonly record: Tally;
}
