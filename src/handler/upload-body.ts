import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { HotblobError } from '../contract/errors.js';
import type { Exchange } from '../contract/exchange.js';
import { type Digest, declaredDigests } from '../http/digest.js';

/** Whether a request may have a body that has not been read. */
export function mayHaveBody({ headers, multiplexed }: Exchange): boolean {
  const length = headers['content-length'];
  // In HTTP/2 no header announces a body of unknown length.
  return length === undefined ? multiplexed || headers['transfer-encoding'] !== undefined : Number(length) > 0;
}

/** Digest that the protocol expects, in addition to the digests in the request headers. */
interface ExpectedDigest {
  /** SHA-256 of the body in hex. */
  readonly sha256?: string | undefined;
  /** Status of the response to a body with another digest. Default: 400. */
  readonly mismatch?: 400 | 422 | undefined;
}

/**
 * Returns what the body of an upload must be, from the request headers and the protocol.
 *
 * @throws HotblobError `ERR_HOTBLOB_TOO_LARGE` if the announced length exceeds `maxBytes`
 * @throws HotblobError `ERR_HOTBLOB_BAD_REQUEST` for a malformed digest header
 */
export function expectedBody(
  exchange: Exchange,
  maxBytes: number,
  { sha256, mismatch }: ExpectedDigest = {},
): ExpectedBody {
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
  if (size > maxBytes) throw tooLargeError(maxBytes, `${size}`);
  return size;
}

/** Expected length and digests of the body of an upload. */
export interface ExpectedBody {
  /** Announced length in bytes, undefined for a chunked upload. */
  readonly size: number | undefined;
  readonly maxBytes: number;
  readonly digests: readonly Digest[];
}

/**
 * Returns the body of an upload as a stream for the store. The stream fails if the body exceeds `maxBytes`, differs from
 * the announced length or a digest, or if the client disconnects. Destroying it leaves the exchange open, so that the
 * handler can respond.
 */
export function uploadBody(exchange: Exchange, expected: ExpectedBody): Readable {
  const body = Readable.from(checkedChunks(exchange, expected), { objectMode: false });
  // A store that has given up may have removed its listener. An unhandled 'error' event ends the process.
  return body.on('error', () => {});
}

async function* checkedChunks(
  exchange: Exchange,
  { size, maxBytes, digests }: ExpectedBody,
): AsyncGenerator<Uint8Array> {
  let received = 0;
  const hashes = digests.map((digest) => ({ ...digest, hash: createHash(digest.algorithm) }));
  const chunks: AsyncIterable<Uint8Array> = exchange.body.iterator({ destroyOnReturn: false });
  try {
    for await (const chunk of chunks) {
      received += chunk.byteLength;
      if (received > maxBytes) throw tooLargeError(maxBytes, `at least ${received}`);
      for (const { hash } of hashes) hash.update(chunk);
      yield chunk;
    }
  } catch (cause) {
    if (cause instanceof HotblobError) throw cause;
    throw clientGoneError(received, { cause });
  }
  if (exchange.closed) throw clientGoneError(received);
  if (size !== undefined && received !== size) {
    const message = `upload: expected ${size} bytes as announced, received ${received}`;
    throw new HotblobError('ERR_HOTBLOB_INCOMPLETE', message);
  }
  for (const { hash, algorithm, value, code } of hashes) {
    const digest = hash.digest();
    if (digest.equals(value)) continue;
    const [expectedHex, receivedHex] = [value.toString('hex'), digest.toString('hex')];
    const message = `upload of ${received} bytes: expected ${algorithm} ${expectedHex}, received ${receivedHex}`;
    throw new HotblobError(code ?? 'ERR_HOTBLOB_DIGEST', message);
  }
}

function tooLargeError(maxBytes: number, received: string): HotblobError {
  return new HotblobError('ERR_HOTBLOB_TOO_LARGE', `upload: expected at most ${maxBytes} bytes, received ${received}`);
}

function clientGoneError(received: number, options?: ErrorOptions): HotblobError {
  const message = `the client disconnected after ${received} bytes of its upload`;
  return new HotblobError('ERR_HOTBLOB_CLIENT_GONE', message, options);
}
