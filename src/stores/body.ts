import type { Readable } from 'node:stream';
import { HotblobError } from '../contract/errors.js';
import type { PutOptions } from '../contract/store.js';

/**
 * The bytes of an upload, chunk by chunk. It ends only when all of them have come, and fails as soon as it is known that
 * they will not: with the body's own error, with the signal's reason (also while a body is silent), or with
 *
 * @throws HotblobError `ERR_HOTBLOB_TOO_LARGE` above `maxBytes` (before the first chunk, if the announced size is),
 * `ERR_HOTBLOB_INCOMPLETE` when the length is not the announced one
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
    throw new HotblobError(
      'ERR_HOTBLOB_TOO_LARGE',
      `the upload is larger than the store, which holds ${maxBytes} bytes`,
    );
  };
  const assertLength = (isRight: boolean): void => {
    if (isRight) return;
    throw new HotblobError('ERR_HOTBLOB_INCOMPLETE', `the upload announced ${size} bytes and had ${received}`);
  };

  assertFits(size ?? 0);
  const chunks: AsyncIterator<unknown> = body[Symbol.asyncIterator]();
  let fail = (_reason: unknown): void => {};
  const onAbort = (): void => fail(signal?.reason);
  signal?.addEventListener('abort', onAbort);
  try {
    for (;;) {
      signal?.throwIfAborted();
      // Not Promise.race with one promise of the abort: that one would collect a reaction for each chunk.
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

/** Ends a body that nobody will read to its end. */
export function discard(body: Readable): void {
  // It may still fail; without a listener that would end the process.
  body.on('error', () => {});
  body.destroy();
}

function bytesOf(chunk: unknown): Uint8Array {
  if (chunk instanceof Uint8Array) return chunk;
  if (typeof chunk === 'string') return Buffer.from(chunk);
  throw new TypeError(`an upload consists of bytes, found ${typeof chunk}`);
}
