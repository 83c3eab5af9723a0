import { Readable } from 'node:stream';

/** One of several copies of a body. It holds what its reader has not taken, one chunk more than it asks for at most. */
export class Branch extends Readable {
  #resume: (() => void) | undefined;

  constructor() {
    super();
    // It may fail before its reader listens, and an error without a listener would end the process.
    this.on('error', () => {});
  }

  override _read(): void {
    this.#resume?.();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#resume?.();
    callback(error);
  }

  /** Resolves when there is room for more, or when nobody reads any more. */
  async write(chunk: Uint8Array): Promise<void> {
    if (this.destroyed || this.push(chunk)) return;
    await new Promise<void>((resolve) => {
      this.#resume = resolve;
    });
    this.#resume = undefined;
  }

  /** Only after this does its reader see the end. */
  end(): void {
    if (!this.destroyed) this.push(null);
  }
}
