import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { turn } from './steps.js';

/** Bytes of which every aligned four tell where they stand, and in which artifact: of two seeds no byte is the same at its place. */
export function content(length: number, seed = 1): Buffer {
  const words = new Uint32Array(Math.ceil(length / 4));
  for (let index = 0; index < words.length; index++) words[index] = index ^ (seed * 0x01010101);
  return Buffer.from(words.buffer, 0, length);
}

/** Fails, saying where they begin to differ, unless two runs of bytes are the same. */
export function assertBytes(actual: Uint8Array, expected: Uint8Array, what: string): void {
  if (Buffer.compare(actual, expected) === 0) return;
  let position = 0;
  while (position < actual.byteLength && actual[position] === expected[position]) position++;
  const counts = `${actual.byteLength} bytes for ${expected.byteLength}`;
  assert.fail(`${what}: ${counts}, and they differ from byte ${position} on`);
}

/** Sizes of chunks as sockets give them: never what anybody expects. */
const CHUNK_SIZES = [1, 16_384, 4093, 7, 32_768, 65_536];

/** An upload that arrives in pieces, each in a turn of its own. */
export function arriving(bytes: Uint8Array): Readable {
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
  return quiet(body);
}

/** An upload that goes on only when it is told to. */
export class StagedBody {
  readonly stream: Readable;
  #wanted = (): void => {};

  constructor() {
    // More than one byte ahead, and it would ask for the next chunk before the store has taken this one.
    this.stream = quiet(new Readable({ highWaterMark: 1, read: () => this.#wanted() }));
  }

  /** Gives some bytes, at least one, and resolves once the store wants more, or has given up. */
  async give(bytes: Uint8Array): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wanted = resolve;
      this.stream.once('close', resolve);
      if (this.stream.destroyed) resolve();
      else this.stream.push(bytes);
    });
    await turn();
  }

  /** Gives bytes in pieces. A store that asks for the next piece has done what it does with the one before. */
  async giveInPieces(bytes: Uint8Array, pieces: number): Promise<void> {
    const each = Math.ceil(bytes.byteLength / pieces);
    for (let start = 0; start < bytes.byteLength; start += each) await this.give(bytes.subarray(start, start + each));
  }

  end(): void {
    if (!this.stream.destroyed) this.stream.push(null);
  }

  fail(error?: Error): void {
    this.stream.destroy(error);
  }
}

// As the handler does: a store that has given up listens no more, and an error without a listener would end the process.
function quiet(body: Readable): Readable {
  return body.on('error', () => {});
}
