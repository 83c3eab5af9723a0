import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { nextTurn } from './promises.js';

/**
 * Returns test bytes. Every aligned group of four bytes encodes its position and the seed. The bytes for two seeds
 * differ at every position.
 */
export function content(length: number, seed = 1): Buffer {
  const words = new Uint32Array(Math.ceil(length / 4));
  for (let index = 0; index < words.length; index++) words[index] = index ^ (seed * 0x01010101);
  return Buffer.from(words.buffer, 0, length);
}

/** Asserts that two byte arrays are equal. The message contains the position of the first difference, not the bytes. */
export function assertBytes(actual: Uint8Array, expected: Uint8Array, what: string): void {
  if (Buffer.compare(actual, expected) === 0) return;
  let position = 0;
  while (position < actual.byteLength && actual[position] === expected[position]) position++;
  const lengths = `expected ${expected.byteLength} bytes, received ${actual.byteLength}`;
  assert.fail(`${what}: ${lengths}; the first difference is at byte ${position}`);
}

/** Irregular chunk sizes, like those that a socket delivers. */
const CHUNK_SIZES = [1, 16_384, 4093, 7, 32_768, 65_536];

/** Returns an upload body that emits `bytes` in chunks, one per turn of the event loop. */
export function chunkedBody(bytes: Uint8Array): Readable {
  let position = 0;
  let count = 0;
  const body = new Readable({
    read() {
      setImmediate(() => {
        const end = position + (CHUNK_SIZES[count++ % CHUNK_SIZES.length] ?? 1);
        this.push(position < bytes.byteLength ? bytes.subarray(position, end) : null);
        position = end;
      });
    },
  });
  return ignoreErrors(body);
}

/** Upload body that a check feeds step by step. */
export class StagedBody {
  readonly stream: Readable;
  #onRead = (): void => {};

  constructor() {
    // With a larger high-water mark the stream would request the next chunk before the store has consumed this one.
    this.stream = ignoreErrors(new Readable({ highWaterMark: 1, read: () => this.#onRead() }));
  }

  /** Pushes `bytes`, which must not be empty. Resolves when the store requests more bytes or has closed the stream. */
  async push(bytes: Uint8Array): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#onRead = resolve;
      this.stream.once('close', resolve);
      if (this.stream.destroyed) resolve();
      else this.stream.push(bytes);
    });
    await nextTurn();
  }

  /** Pushes `bytes` in pieces. A store that requests a piece has processed the previous one. */
  async pushInPieces(bytes: Uint8Array, pieces: number): Promise<void> {
    const length = Math.ceil(bytes.byteLength / pieces);
    for (let start = 0; start < bytes.byteLength; start += length) {
      await this.push(bytes.subarray(start, start + length));
    }
  }

  end(): void {
    if (!this.stream.destroyed) this.stream.push(null);
  }

  destroy(error?: Error): void {
    this.stream.destroy(error);
  }
}

// Adds an error listener, as the handler does. After its put() has rejected, a store no longer listens, and an error
// without a listener would end the process.
function ignoreErrors(body: Readable): Readable {
  return body.on('error', () => {});
}
