import type { Readable } from 'node:stream';
import { HotblobError } from '../contract/errors.js';
import type { PutOptions } from '../contract/store.js';

/**
 * Yields the bytes of an upload. Returns only after the whole body was received. Rejects with the error of the body. If
 * the signal is aborted, rejects with its reason at once, even while the client sends nothing.
 *
 * @throws HotblobError `ERR_HOTBLOB_TOO_LARGE` if the upload is larger than `maxBytes`. If its announced size is
 *   larger, the error is thrown before the first chunk
 * @throws HotblobError `ERR_HOTBLOB_INCOMPLETE` if the upload is shorter or longer than announced
 */
export async function* chunksOf(
  body: Readable,
  options: Partial<PutOptions>,
  maxBytes: number,
): AsyncGenerator<Uint8Array> {
  const { signal, size } = options;
  let received = 0;
  const assertFits = (bytes: number): void => {
    if (bytes <= maxBytes) return;
    const actual = size === undefined ? `received ${bytes} or more` : `the client announced ${bytes}`;
    throw new HotblobError('ERR_HOTBLOB_TOO_LARGE', `upload: expected at most ${maxBytes} bytes, ${actual}`);
  };
  const assertLength = (isExpected: boolean): void => {
    if (isExpected) return;
    const message = `upload: expected ${size} bytes as announced, received ${received}`;
    throw new HotblobError('ERR_HOTBLOB_INCOMPLETE', message);
  };

  assertFits(size ?? 0);
  const chunks: AsyncIterator<unknown> = body[Symbol.asyncIterator]();
  let fail = (_reason: unknown): void => {};
  const onAbort = (): void => fail(signal?.reason);
  signal?.addEventListener('abort', onAbort);
  try {
    for (;;) {
      signal?.throwIfAborted();
      // Does not use Promise.race() with one promise for the abort: each call would add a reaction to that promise.
      const next = await new Promise<IteratorResult<unknown>>((resolve, reject) => {
        fail = reject;
        chunks.next().then(resolve, reject);
      });
      if (next.done) break;
      const chunk = bytesOf(next.value);
      received += chunk.byteLength;
      assertFits(received);
      assertLength(size === undefined || received <= size);
      yield chunk;
    }
    signal?.throwIfAborted();
    assertLength(size === undefined || received === size);
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}

/** Destroys a body whose rest is not needed. */
export function discard(body: Readable): void {
  // The body may still emit an error. Without a listener, the error would end the process.
  body.on('error', () => {});
  body.destroy();
}

function bytesOf(chunk: unknown): Uint8Array {
  if (chunk instanceof Uint8Array) return chunk;
  if (typeof chunk === 'string') return Buffer.from(chunk);
  throw new TypeError(`upload: expected chunks of type Uint8Array or string, received ${typeof chunk}`);
}
