import { Readable } from 'node:stream';
import { Deadline } from './deadline.js';
import { upstreamError, upstreamTimeout } from './errors.js';
import type { UpstreamResponse } from './response.js';

const READ_AHEAD_BYTES = 128 * 1024;

interface ResponseBodyOptions {
  /** Number of bytes to leave out at the start of the response body. */
  readonly skip: number;
  /** Number of bytes to emit after those. `undefined`: all bytes up to the end of the body. */
  readonly length: number | undefined;
  readonly stallTimeoutMs: number;
  /** Origin of the upstream, for error messages. */
  readonly origin: string;
}

/**
 * Body of a response, or a part of it. Emits an error if the response is truncated, or if no data arrives within
 * `stallTimeoutMs` while the reader waits for data. A slow reader does not cause a timeout.
 */
export class ResponseBody extends Readable {
  readonly #response: UpstreamResponse;
  readonly #options: ResponseBodyOptions;
  readonly #stall: Deadline;
  #receivedBytes = 0;
  #isFinished = false;
  #bytesToSkip: number;
  #bytesToEmit: number;

  constructor(response: UpstreamResponse, options: ResponseBodyOptions) {
    super({ highWaterMark: READ_AHEAD_BYTES });
    // The body can fail before its reader adds a listener. Without a listener, the error would end the process.
    this.on('error', () => {});
    this.#response = response;
    this.#options = options;
    this.#bytesToSkip = options.skip;
    this.#bytesToEmit = options.length ?? Number.POSITIVE_INFINITY;
    this.#stall = new Deadline((expectation) => this.destroy(upstreamTimeout(options.origin, expectation)));
    const { source } = response;
    source.on('data', (chunk: Buffer) => this.#onData(chunk));
    source.on('end', () => this.#onEnd());
    source.on('error', (error) => this.#fail(error));
    source.on('close', () => this.#fail(new Error(`the response was truncated after ${this.#receivedBytes} bytes`)));
    if (source.destroyed && !source.readableEnded) this.#fail(new Error('the response was truncated'));
    if (this.#bytesToEmit === 0) this.#complete();
  }

  override _read(): void {
    if (this.#isFinished) return;
    this.#startStallTimer();
    this.#response.source.resume();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#stall.clear();
    if (!this.#isFinished) {
      this.#isFinished = true;
      this.#response.cancel(this.#receivedBytes);
    }
    callback(error);
  }

  #onData(chunk: Buffer): void {
    if (this.#isFinished) return;
    this.#receivedBytes += chunk.byteLength;
    const start = Math.min(this.#bytesToSkip, chunk.byteLength);
    this.#bytesToSkip -= start;
    const length = Math.min(this.#bytesToEmit, chunk.byteLength - start);
    this.#bytesToEmit -= length;
    const needsMore = length === 0 || this.push(chunk.subarray(start, start + length));
    if (this.#bytesToEmit === 0) {
      this.#complete();
    } else if (needsMore) {
      this.#startStallTimer();
    } else {
      this.#stall.clear();
      this.#response.source.pause();
    }
  }

  #startStallTimer(): void {
    this.#stall.set('stallTimeoutMs', this.#options.stallTimeoutMs, 'data of the response body');
  }

  #complete(): void {
    this.#isFinished = true;
    this.#stall.clear();
    this.push(null);
    this.#response.cancel(this.#receivedBytes);
  }

  #onEnd(): void {
    if (this.#isFinished) return;
    if (this.#options.length !== undefined || this.#bytesToSkip > 0) {
      this.#fail(new Error(`the response ended early, after ${this.#receivedBytes} bytes`));
    } else {
      this.#complete();
    }
  }

  #fail(cause: Error): void {
    if (this.#isFinished) return;
    this.#isFinished = true;
    this.destroy(upstreamError(this.#options.origin, cause));
  }
}
