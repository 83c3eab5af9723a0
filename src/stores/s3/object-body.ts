import { Readable } from 'node:stream';
import { bodyTimeout, invalidResponse, toHotblobError } from './errors.js';

/** Range of an object, with a function that requests the rest of the range again. */
export interface BodyOrigin {
  /** Description of the action for error messages, such as `reading from the bucket 'builds'`. */
  readonly action: string;
  /** Maximum number of consecutive requests that receive no byte, the first one included. */
  readonly maxAttempts: number;
  /** Maximum time in milliseconds without a byte, while the consumer waits for data. */
  readonly timeoutMs: number;
  /** Signal that ends the download. */
  readonly signal: AbortSignal;
  /** Requests the range again, without its first `received` bytes. */
  reopen(received: number): Promise<Readable>;
}

/**
 * Stream of the bytes in a range of an object. If the connection is reset or stalls, the stream requests the rest again
 * as soon as the consumer reads on.
 */
export class ObjectBody extends Readable {
  readonly #origin: BodyOrigin;
  readonly #length: number;
  /** Body of the current response; undefined between a failure and the next response. */
  #body: Readable | undefined;
  #received = 0;
  #consecutiveFailures = 0;
  /** Whether the consumer is waiting for data. */
  #isReading = false;
  #isReopening = false;
  #stallTimer: NodeJS.Timeout | undefined;

  /**
   * @param body first response body; destroyed with this stream
   * @param length expected length of `body`, in bytes
   * @param prefix bytes to emit before `body`
   */
  constructor(origin: BodyOrigin, body: Readable, length: number, prefix?: Uint8Array) {
    super();
    this.#origin = origin;
    this.#length = length;
    if (prefix !== undefined && prefix.byteLength > 0) this.push(prefix);
    this.#attach(body);
  }

  override _read(): void {
    this.#isReading = true;
    this.#resume();
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#clearStallTimer();
    this.#body?.destroy();
    callback(error);
  }

  #resume(): void {
    if (this.#body === undefined) {
      if (!this.#isReopening) this.#reopen();
      return;
    }
    this.#body.resume();
    // The timer runs only while the consumer waits for data, because a slow client is not a stalled service.
    this.#stallTimer ??= setTimeout(() => {
      const { action, timeoutMs } = this.#origin;
      this.#onFailure(bodyTimeout(action, timeoutMs));
    }, this.#origin.timeoutMs);
  }

  #clearStallTimer(): void {
    clearTimeout(this.#stallTimer);
    this.#stallTimer = undefined;
  }

  #attach(body: Readable): void {
    const { action } = this.#origin;
    this.#body = body;
    body.on('data', (chunk: Buffer) => {
      if (body === this.#body) this.#onData(body, chunk);
    });
    const fail = (error: Error): void => {
      if (body === this.#body) this.#onFailure(error);
    };
    body.on('error', fail);
    // A body that ends early, or is destroyed with its S3 client, closes without an error.
    body.on('close', () => {
      fail(invalidResponse(action, `the body ended after ${this.#received} of ${this.#length} bytes`));
    });
    body.pause();
  }

  #onData(body: Readable, chunk: Buffer): void {
    this.#received += chunk.byteLength;
    this.#consecutiveFailures = 0;
    if (this.#received > this.#length) {
      const reason = `expected ${this.#length} bytes, received more`;
      this.destroy(invalidResponse(this.#origin.action, reason));
      return;
    }
    this.#isReading = this.push(chunk);
    this.#stallTimer?.refresh();
    if (this.#received === this.#length) {
      // The body is still read to its end, so that the agent can reuse the connection. Errors of the body no longer
      // matter.
      this.#body = undefined;
      this.#clearStallTimer();
      this.push(null);
    } else if (!this.#isReading) {
      this.#clearStallTimer();
      body.pause();
    }
  }

  #onFailure(error: Error): void {
    const body = this.#body;
    this.#body = undefined;
    this.#clearStallTimer();
    body?.destroy();
    const { signal, maxAttempts, action } = this.#origin;
    if (signal.aborted) {
      this.destroy(signal.reason);
      return;
    }
    // A service may close a connection that has been idle. This does not count as a failure; the next read opens a new
    // connection.
    if (!this.#isReading) return;
    if (++this.#consecutiveFailures >= maxAttempts) this.destroy(toHotblobError(error, action));
    else this.#reopen();
  }

  #reopen(): void {
    if (this.destroyed || this.#received === this.#length) return;
    this.#isReopening = true;
    this.#origin.reopen(this.#received).then(
      (body) => {
        this.#isReopening = false;
        if (this.destroyed) {
          body.on('error', () => {}).destroy();
          return;
        }
        this.#attach(body);
        if (this.#isReading) this.#resume();
      },
      (error) => this.destroy(error),
    );
  }
}
