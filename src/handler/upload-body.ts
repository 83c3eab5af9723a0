import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { Readable } from 'node:stream';
import type { UploadMetadata } from '../contract/artifact.js';
import { HotblobError } from '../contract/errors.js';
import { bodyConsumedError, type Exchange } from '../contract/exchange.js';
import { type Digest, declaredDigests } from '../http/digest.js';
import type { UploadOperation } from '../protocols/protocol.js';
import { paced, type UploadPace } from './upload-pace.js';

/** Digest that the protocol expects, in addition to the digests in the request headers. */
type ExpectedDigest = Pick<UploadOperation, 'digest' | 'mismatch'>;

/**
 * Returns the expected length and digests of the body of an upload, from the request headers and the protocol.
 *
 * @throws HotblobError `ERR_HOTBLOB_TOO_LARGE` if the announced length exceeds `maxBytes`
 * @throws HotblobError `ERR_HOTBLOB_BAD_REQUEST` if a digest header is malformed, or if the body is only a part of an
 *   artifact
 * @throws HotblobError `ERR_HOTBLOB_TRANSFER_CODING` for a transfer coding other than `chunked`
 */
export function expectedBody(
  exchange: Exchange,
  maxBytes: number,
  { digest, mismatch }: ExpectedDigest = {},
): ExpectedBody {
  assertCompleteForm(exchange.headers);
  const size = announcedSize(exchange, maxBytes);
  const digests = declaredDigests(exchange.headers);
  if (digest !== undefined) {
    const code = mismatch === 422 ? 'ERR_HOTBLOB_UNPROCESSABLE' : undefined;
    digests.push({ algorithm: digest.algorithm, value: Buffer.from(digest.hex, 'hex'), code });
  }
  return { size, maxBytes, digests };
}

/** Asserts that the body is the whole artifact, and that its transfer coding is supported. */
function assertCompleteForm(headers: IncomingHttpHeaders): void {
  // Content-Range must not be ignored: a server that does not support partial PUT must respond with 400 (RFC 9110,
  // section 14.5).
  if (headers['content-range'] !== undefined) {
    const message = 'upload: expected a whole artifact without Content-Range; parts of an artifact are not supported';
    throw new HotblobError('ERR_HOTBLOB_BAD_REQUEST', message);
  }
  const coding = headers['transfer-encoding'];
  if (coding === undefined || coding.toLowerCase() === 'chunked') return;
  // Node decodes only `chunked` (RFC 9112, section 6.1).
  const message = `upload: expected Transfer-Encoding 'chunked', received ${JSON.stringify(coding)}`;
  throw new HotblobError('ERR_HOTBLOB_TRANSFER_CODING', message);
}

/**
 * Returns the metadata that is stored with an upload: the metadata of the protocol, and the Content-Encoding of the
 * request. Without Content-Encoding, no client could decode the artifact.
 */
export function storedMetadata(exchange: Exchange, metadata: UploadMetadata | undefined): UploadMetadata | undefined {
  const contentEncoding = contentCodingOf(exchange);
  if (contentEncoding === undefined || metadata?.contentEncoding !== undefined) return metadata;
  return { ...metadata, contentEncoding };
}

/**
 * Asserts that the request has no Content-Encoding. Called for a body that the protocol parses itself.
 *
 * @throws HotblobError `ERR_HOTBLOB_CONTENT_CODING`
 */
export function assertNoContentCoding(exchange: Exchange): void {
  const coding = contentCodingOf(exchange);
  if (coding === undefined) return;
  const message = `request body: expected no Content-Encoding, received ${JSON.stringify(coding)}`;
  throw new HotblobError('ERR_HOTBLOB_CONTENT_CODING', message);
}

function contentCodingOf({ headers }: Exchange): string | undefined {
  const coding = headers['content-encoding'];
  return coding === undefined || coding === '' || coding.toLowerCase() === 'identity' ? undefined : coding;
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
 * Returns the body of an upload as a stream for the store. The stream fails if the body exceeds `maxBytes` or differs
 * from the announced length or a digest, or if the client disconnects or sends it too slowly. If the stream is destroyed,
 * the exchange remains open, so that the handler can respond.
 *
 * @param record counts the bytes
 */
export function uploadBody(
  exchange: Exchange,
  expected: ExpectedBody,
  pace: UploadPace,
  record: { addReceived(bytes: number): void },
): Readable {
  const body = Readable.from(checkedChunks(exchange, expected, pace, record), { objectMode: false });
  // A store that has stopped reading may have removed its listener. An 'error' event without a listener ends the
  // process.
  return body.on('error', () => {});
}

async function* checkedChunks(
  exchange: Exchange,
  { size, maxBytes, digests }: ExpectedBody,
  pace: UploadPace,
  record: { addReceived(bytes: number): void },
): AsyncGenerator<Uint8Array> {
  const source = exchange.body;
  if (isConsumed(source, size)) throw bodyConsumedError();
  let received = 0;
  // Number of bytes that have left the stream, even if another consumer takes them.
  let emitted = 0;
  const onData = (chunk: Uint8Array): void => {
    emitted += chunk.byteLength;
  };
  // A protocol and a header can expect the same algorithm.
  const hashes = new Map(digests.map(({ algorithm }) => [algorithm, createHash(algorithm)]));
  const wasRead = source.readableDidRead;
  const chunks = paced(source.iterator({ destroyOnReturn: false }), pace);
  source.on('data', onData);
  try {
    for await (const chunk of chunks) {
      received += chunk.byteLength;
      record.addReceived(chunk.byteLength);
      if (received > maxBytes) throw tooLargeError(maxBytes, `at least ${received}`);
      for (const hash of hashes.values()) hash.update(chunk);
      yield chunk;
    }
  } catch (cause) {
    if (cause instanceof HotblobError) throw cause;
    throw disconnectedError(received, { cause });
  } finally {
    source.off('data', onData);
  }
  if (exchange.closed) throw disconnectedError(received);
  if (received !== emitted || (wasRead && received !== size)) throw bodyConsumedError();
  if (size !== undefined && received !== size) {
    const message = `upload: expected ${size} bytes as announced, received ${received}`;
    throw new HotblobError('ERR_HOTBLOB_INCOMPLETE', message);
  }
  const receivedHex = new Map([...hashes].map(([algorithm, hash]) => [algorithm, hash.digest('hex')]));
  for (const { algorithm, value, code } of digests) {
    const hex = receivedHex.get(algorithm);
    if (hex === value.toString('hex')) continue;
    const message = `upload of ${received} bytes: expected ${algorithm} ${value.toString('hex')}, received ${hex}`;
    throw new HotblobError(code ?? 'ERR_HOTBLOB_DIGEST', message);
  }
}

/**
 * Returns whether another consumer is reading the stream, has read it, or decodes it to text. If that consumer put
 * chunks back with `unshift()`, only the announced length tells whether the stream is complete.
 */
function isConsumed(body: Readable, size: number | undefined): boolean {
  if (body.readableEncoding !== null || (body.readableFlowing === true && !body.readableEnded)) return true;
  return body.readableDidRead && (size === undefined || body.readableLength === 0);
}

function tooLargeError(maxBytes: number, received: string): HotblobError {
  return new HotblobError('ERR_HOTBLOB_TOO_LARGE', `upload: expected at most ${maxBytes} bytes, received ${received}`);
}

function disconnectedError(received: number, options?: ErrorOptions): HotblobError {
  const message = `the client disconnected after ${received} bytes of its upload`;
  return new HotblobError('ERR_HOTBLOB_CLIENT_GONE', message, options);
}
