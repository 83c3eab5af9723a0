import { Readable } from 'node:stream';
import { brokenAnswer, failureOf, silence } from './failure.js';

/** Where the bytes of a range come from. */
export interface BodyOrigin {
  /** What is being done, for messages. */
  readonly doing: string;
  /** How often the rest may be asked for in a row without a byte coming, the first time included. */
  readonly attempts: number;
  /** How long the service may say nothing while bytes are wanted, in milliseconds. */
  readonly timeoutMs: number;
  /** Ends everything when it aborts. */
  readonly signal: AbortSignal;
  /** Asks for what follows on the first `received` bytes of the range. */
  reopen(received: number): Promise<Readable>;
}

/**
 * The bytes of a range, whatever happens on the way: when the connection is cut off, or says nothing for too long, the
 * rest is asked for again, once somebody wants it.
 */
export class ObjectBody extends Readable {
  readonly #origin: BodyOrigin;
  readonly #length: number;
  /** Undefined once it has failed, until the rest has been asked for. */
  #body: Readable | undefined;
  #received = 0;
  #failures = 0;
  #isWanted = false;
  #isReopening = false;
  #silence: NodeJS.Timeout | undefined;

  /**
   * `length` is what `body` should have, in bytes; it is destroyed with this stream. `prefix` comes first and was received
   * before.
   */
  constructor(origin: BodyOrigin, body: Readable, length: number, prefix?: Uint8Array) {
    super();
    this.#origin = origin;
    this.#length = length;
    if (prefix !== undefined && prefix.byteLength > 0) this.push(prefix);
    this.#attach(body);
  }

  override _read(): void {
    this.#isWanted = true;
    this.#go();
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#stop();
    this.#body?.destroy();
    callback(error);
  }

  #go(): void {
    if (this.#body === undefined) {
      if (!this.#isReopening) this.#reopen();
      return;
    }
    this.#body.resume();
    // Only while bytes are wanted: a client may read as slowly as it likes.
    this.#silence ??= setTimeout(() => {
      const { doing, timeoutMs } = this.#origin;
      this.#fail(silence(doing, timeoutMs));
    }, this.#origin.timeoutMs);
  }

  #stop(): void {
    clearTimeout(this.#silence);
    this.#silence = undefined;
  }

  #attach(body: Readable): void {
    const { doing } = this.#origin;
    this.#body = body;
    body.on('data', (chunk: Buffer) => {
      if (body === this.#body) this.#take(body, chunk);
    });
    const fail = (error: Error): void => {
      if (body === this.#body) this.#fail(error);
    };
    body.on('error', fail);
    // Without an error where it ends too early, or was destroyed with its client.
    body.on('close', () => fail(brokenAnswer(doing, `the body ended at ${this.#received} of ${this.#length} bytes`)));
    body.pause();
  }

  #take(body: Readable, chunk: Buffer): void {
    this.#received += chunk.byteLength;
    this.#failures = 0;
    if (this.#received > this.#length) {
      this.destroy(brokenAnswer(this.#origin.doing, `S3 sent more than the ${this.#length} bytes that it announced`));
      return;
    }
    this.#isWanted = this.push(chunk);
    this.#silence?.refresh();
    if (this.#received === this.#length) {
      // It flows on to its end, which gives its connection back; whatever happens there is no longer ours.
      this.#body = undefined;
      this.#stop();
      this.push(null);
    } else if (!this.#isWanted) {
      this.#stop();
      body.pause();
    }
  }

  #fail(error: Error): void {
    const body = this.#body;
    this.#body = undefined;
    this.#stop();
    body?.destroy();
    const { signal, attempts, doing } = this.#origin;
    if (signal.aborted) {
      this.destroy(signal.reason);
      return;
    }
    // Nobody wants anything: a service that closes a connection which is idle does nothing wrong.
    if (!this.#isWanted) return;
    if (++this.#failures >= attempts) this.destroy(failureOf(error, doing));
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
        if (this.#isWanted) this.#go();
      },
      (error) => this.destroy(error),
    );
  }
}
