import { Readable } from 'node:stream';
import type { StreamArtifact } from '../../src/contract/artifact.js';

/** A stream artifact whose second half is withheld until the test calls {@link release}. */
export class SlowArtifact {
  readonly artifact: StreamArtifact;
  /** Resolves when the headers and the first half have been sent. */
  readonly begun: Promise<void>;
  #release = (): void => {};

  constructor(bytes: Buffer) {
    const half = Math.floor(bytes.byteLength / 2);
    const released = new Promise<void>((resolve) => {
      this.#release = resolve;
    });
    let begin = (): void => {};
    this.begun = new Promise((resolve) => {
      begin = resolve;
    });
    let reads = 0;
    async function read(this: Readable): Promise<void> {
      reads++;
      if (reads === 1) this.push(bytes.subarray(0, half));
      // Readable reads one chunk ahead: the third read happens when the second chunk is consumed, after the first was sent.
      if (reads === 2) this.push(bytes.subarray(half, half + 1));
      if (reads !== 3) return;
      begin();
      await released;
      this.push(bytes.subarray(half + 1));
      this.push(null);
    }
    this.artifact = {
      kind: 'stream',
      size: bytes.byteLength,
      open: () => new Readable({ highWaterMark: 1, read }),
    };
  }

  release(): void {
    this.#release();
  }
}
