import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { HotblobError } from './errors.js';
import type { Exchange } from './exchange.js';
import type { Digest } from './http/digest.js';

/**
 * The length that an upload announces, in bytes; undefined for a chunked one.
 *
 * @throws HotblobError `ERR_HOTBLOB_TOO_LARGE` when it is above `maxBytes`, before any of the body is read
 */
export function announcedSize(exchange: Exchange, maxBytes: number): number | undefined {
  const header = exchange.headers['content-length'];
  if (header === undefined) return undefined;
  const size = Number(header);
  if (size > maxBytes) throw tooLarge(maxBytes);
  return size;
}

/** What the body of an upload must be. */
export interface Expected {
  /** Bytes; undefined where nobody has announced them. */
  readonly size: number | undefined;
  readonly maxBytes: number;
  readonly digests: readonly Digest[];
}

/**
 * The body of an upload, as a store gets it. It fails when it grows beyond `maxBytes`, when it ends before `size`, when it
 * does not hash to what it should, and when the client leaves. It does not end the exchange with it: that one has an answer
 * to give.
 */
export function uploadBody(exchange: Exchange, expected: Expected): Readable {
  const body = Readable.from(checked(exchange, expected), { objectMode: false });
  // A store that has given up listens no more, and an error without a listener would end the process.
  return body.on('error', () => {});
}

async function* checked(exchange: Exchange, { size, maxBytes, digests }: Expected): AsyncGenerator<Uint8Array> {
  let received = 0;
  const hashes = digests.map(({ algorithm, value }) => ({ hash: createHash(algorithm), algorithm, value }));
  const chunks: AsyncIterable<Uint8Array> = exchange.body.iterator({ destroyOnReturn: false });
  try {
    for await (const chunk of chunks) {
      received += chunk.byteLength;
      if (received > maxBytes) throw tooLarge(maxBytes);
      for (const { hash } of hashes) hash.update(chunk);
      yield chunk;
    }
  } catch (cause) {
    if (cause instanceof HotblobError) throw cause;
    throw new HotblobError('ERR_HOTBLOB_CLIENT_GONE', `the client left after ${received} bytes of its upload`, {
      cause,
    });
  }
  if (exchange.closed) throw new HotblobError('ERR_HOTBLOB_CLIENT_GONE', `the client left after ${received} bytes`);
  if (size !== undefined && received !== size) {
    throw new HotblobError('ERR_HOTBLOB_INCOMPLETE', `the upload announced ${size} bytes and had ${received}`);
  }
  for (const { hash, algorithm, value } of hashes) {
    if (hash.digest().equals(value)) continue;
    const message = `the ${received} bytes of the upload have another ${algorithm} than it, or its key, says`;
    throw new HotblobError('ERR_HOTBLOB_DIGEST', message);
  }
}

function tooLarge(maxBytes: number): HotblobError {
  return new HotblobError('ERR_HOTBLOB_TOO_LARGE', `an upload has at most ${maxBytes} bytes`);
}
