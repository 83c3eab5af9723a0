import { Readable } from 'node:stream';
import { HotblobError } from './errors.js';
import type { Exchange } from './exchange.js';

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

/**
 * The body of an upload, as a store gets it. It fails when it grows beyond `maxBytes`, when it ends before `size`, and
 * when the client leaves. It does not end the exchange with it: that one has an answer to give.
 */
export function uploadBody(exchange: Exchange, size: number | undefined, maxBytes: number): Readable {
  const body = Readable.from(checked(exchange, size, maxBytes), { objectMode: false });
  // A store that has given up listens no more, and an error without a listener would end the process.
  return body.on('error', () => {});
}

async function* checked(exchange: Exchange, size: number | undefined, maxBytes: number): AsyncGenerator<Uint8Array> {
  let received = 0;
  const chunks: AsyncIterable<Uint8Array> = exchange.body.iterator({ destroyOnReturn: false });
  try {
    for await (const chunk of chunks) {
      received += chunk.byteLength;
      if (received > maxBytes) throw tooLarge(maxBytes);
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
}

function tooLarge(maxBytes: number): HotblobError {
  return new HotblobError('ERR_HOTBLOB_TOO_LARGE', `an upload has at most ${maxBytes} bytes`);
}
