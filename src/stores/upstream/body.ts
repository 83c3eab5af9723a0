import { Readable } from 'node:stream';
import { Deadline } from './deadline.js';
import { upstreamFailed, upstreamLate } from './errors.js';
import type { UpstreamResponse } from './response.js';

const READ_AHEAD_BYTES = 128 * 1024;

export interface BodyOptions {
  /** Bytes of the response's body to leave out at its start. */
  readonly skip: number;
  /** Bytes to give from there on; undefined where nobody knows: then up to the end. */
  readonly length: number | undefined;
  readonly stallTimeoutMs: number;
  /** For messages. */
  readonly origin: string;
}

/**
 * The body of an answer, or a part of it. It fails when it is cut off, and when nothing comes of it for too long while
 * its reader is waiting; a reader that takes its time is no fault of the peer's.
 */
export class UpstreamBody extends Readable {
  readonly #response: UpstreamResponse;
  readonly #options: BodyOptions;
  readonly #stall: Deadline;
  #received = 0;
  #isOver = false;
  #toSkip: number;
  #toGive: number;

  constructor(response: UpstreamResponse, options: BodyOptions) {
    super({ highWaterMark: READ_AHEAD_BYTES });
    // It may fail before its reader listens, and an error without a listener would end the process.
    this.on('error', () => {});
    this.#response = response;
    this.#options = options;
    this.#toSkip = options.skip;
    this.#toGive = options.length ?? Number.POSITIVE_INFINITY;
    this.#stall = new Deadline((waitedFor) => this.destroy(upstreamLate(options.origin, waitedFor)));
    const { source } = response;
    source.on('data', (chunk: Buffer) => this.#take(chunk));
    source.on('end', () => this.#end());
    source.on('error', (error) => this.#fail(error));
    source.on('close', () => this.#fail(new Error(`the answer was cut off after ${this.#received} bytes`)));
    if (source.destroyed && !source.readableEnded) this.#fail(new Error('the answer was cut off'));
    if (this.#toGive === 0) this.#complete();
  }

  override _read(): void {
    if (this.#isOver) return;
    this.#stall.set(this.#options.stallTimeoutMs, 'byte of the body');
    this.#response.source.resume();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#stall.clear();
    if (!this.#isOver) {
      this.#isOver = true;
      this.#response.cancel(this.#received);
    }
    callback(error);
  }

  #take(chunk: Buffer): void {
    if (this.#isOver) return;
    this.#received += chunk.byteLength;
    const skipped = Math.min(this.#toSkip, chunk.byteLength);
    this.#toSkip -= skipped;
    const given = Math.min(this.#toGive, chunk.byteLength - skipped);
    this.#toGive -= given;
    const wantsMore = given === 0 || this.push(chunk.subarray(skipped, skipped + given));
    if (this.#toGive === 0) {
      this.#complete();
    } else if (wantsMore) {
      this.#stall.set(this.#options.stallTimeoutMs, 'byte of the body');
    } else {
      this.#stall.clear();
      this.#response.source.pause();
    }
  }

  #complete(): void {
    this.#isOver = true;
    this.#stall.clear();
    this.push(null);
    this.#response.cancel(this.#received);
  }

  #end(): void {
    if (this.#isOver) return;
    if (this.#options.length !== undefined || this.#toSkip > 0) {
      this.#fail(new Error(`the answer ended after ${this.#received} bytes`));
    } else {
      this.#complete();
    }
  }

  #fail(cause: Error): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.destroy(upstreamFailed(this.#options.origin, cause));
  }
}
