import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { HotblobError } from '../contract/errors.js';
import type { Exchange } from '../contract/exchange.js';
import { type Digest, declaredDigests } from '../http/digest.js';

/** Whether a request may have a body that nobody has read. */
export function mayHaveBody({ headers, multiplexed }: Exchange): boolean {
  const length = headers['content-length'];
  // HTTP/2 frames a body without saying so.
  return length === undefined ? multiplexed || headers['transfer-encoding'] !== undefined : Number(length) > 0;
}

/** What else than the headers says what a body must be. */
interface Declared {
  /** What it must hash to, in hex. */
  readonly sha256?: string | undefined;
  /** What answers it where it does not. Default: 400. */
  readonly mismatch?: 400 | 422 | undefined;
}

/**
 * What the headers of an upload announce, and what is known of it besides.
 *
 * @throws HotblobError `ERR_HOTBLOB_TOO_LARGE` when it is above `maxBytes`, before any of the body is read, and
 * `ERR_HOTBLOB_BAD_REQUEST` for a digest that is none
 */
export function expectedBody(exchange: Exchange, maxBytes: number, { sha256, mismatch }: Declared = {}): ExpectedBody {
  const size = announcedSize(exchange, maxBytes);
  const digests = declaredDigests(exchange.headers);
  if (sha256 !== undefined) {
    const code = mismatch === 422 ? 'ERR_HOTBLOB_UNPROCESSABLE' : undefined;
    digests.push({ algorithm: 'sha256', value: Buffer.from(sha256, 'hex'), code });
  }
  return { size, maxBytes, digests };
}

function announcedSize(exchange: Exchange, maxBytes: number): number | undefined {
  const header = exchange.headers['content-length'];
  if (header === undefined) return undefined;
  const size = Number(header);
  if (size > maxBytes) throw tooLarge(maxBytes);
  return size;
}

/** What the body of an upload must be. */
export interface ExpectedBody {
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
export function uploadBody(exchange: Exchange, expected: ExpectedBody): Readable {
  const body = Readable.from(checked(exchange, expected), { objectMode: false });
  // A store that has given up listens no more, and an error without a listener would end the process.
  return body.on('error', () => {});
}

async function* checked(exchange: Exchange, { size, maxBytes, digests }: ExpectedBody): AsyncGenerator<Uint8Array> {
  let received = 0;
  const hashes = digests.map((digest) => ({ ...digest, hash: createHash(digest.algorithm) }));
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
  for (const { hash, algorithm, value, code } of hashes) {
    if (hash.digest().equals(value)) continue;
    const message = `the ${received} bytes of the upload have another ${algorithm} than it, or its key, says`;
    throw new HotblobError(code ?? 'ERR_HOTBLOB_DIGEST', message);
  }
}

function tooLarge(maxBytes: number): HotblobError {
  return new HotblobError('ERR_HOTBLOB_TOO_LARGE', `an upload has at most ${maxBytes} bytes`);
}
