import { Readable } from 'node:stream';
import type { StreamArtifact } from '../../src/contract/artifact.js';

/** An artifact whose last half comes when the test says so. */
export class SlowArtifact {
  readonly artifact: StreamArtifact;
  /** Resolves when the headers have been sent, and half of the bytes. */
  readonly begun: Promise<void>;
  #goOn = (): void => {};

  constructor(bytes: Buffer) {
    const half = Math.floor(bytes.byteLength / 2);
    const released = new Promise<void>((resolve) => {
      this.#goOn = resolve;
    });
    let begin = (): void => {};
    this.begun = new Promise((resolve) => {
      begin = resolve;
    });
    let asked = 0;
    async function read(this: Readable): Promise<void> {
      asked++;
      if (asked === 1) this.push(bytes.subarray(0, half));
      // A stream asks ahead by one chunk: for the third when the second is taken, and that is when the first has left.
      if (asked === 2) this.push(bytes.subarray(half, half + 1));
      if (asked !== 3) return;
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

  goOn(): void {
    this.#goOn();
  }
}
