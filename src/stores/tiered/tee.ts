import { Readable } from 'node:stream';

/**
 * One of several copies of a body, each of which goes to one store. A branch buffers at most one chunk more than its
 * high-water mark.
 */
export class Branch extends Readable {
  #resume: (() => void) | undefined;

  constructor() {
    super();
    // The stream may fail before its consumer listens. An 'error' event without a listener would end the process.
    this.on('error', () => {});
  }

  override _read(): void {
    this.#resume?.();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#resume?.();
    callback(error);
  }

  /** Resolves when the branch has room for another chunk, or is destroyed. */
  async write(chunk: Uint8Array): Promise<void> {
    if (this.destroyed || this.push(chunk)) return;
    await new Promise<void>((resolve) => {
      this.#resume = resolve;
    });
    this.#resume = undefined;
  }

  /** Signals the end of the body to the consumer. */
  end(): void {
    if (!this.destroyed) this.push(null);
  }
}
