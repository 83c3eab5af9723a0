import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';

/**
 * Limits up to which the rest of an unneeded response body is read and discarded. Above them, the response is aborted.
 * That costs the connection (HTTP/1.1) or counts against the upstream's limit of resets (HTTP/2).
 */
const MAX_DISCARDED_BYTES = 64 * 1024;
const MAX_DISCARDING_MS = 1000;

/** Response whose headers have arrived. The body is paused until it is read or cancelled. */
export class UpstreamResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Value of `Content-Length`, if it is valid. */
  readonly length: number | undefined;
  /** Body of the response. It has an error listener already, so that an error does not end the process. */
  readonly source: Readable;
  readonly #abort: () => void;

  /** @param abort ends the response early: destroys the connection (HTTP/1.1) or resets the stream (HTTP/2) */
  constructor(status: number, headers: IncomingHttpHeaders, source: Readable, abort: () => void) {
    this.status = status;
    this.headers = headers;
    const length = headers['content-length'];
    this.length = length !== undefined && /^\d{1,15}$/.test(length) ? Number(length) : undefined;
    this.source = source;
    this.#abort = abort;
    source.on('error', () => {});
    // The body is paused at once, because node:http2 may discard the data of a stream that is neither read nor paused.
    source.pause();
  }

  /**
   * Releases the rest of the body. A short rest is read and discarded. If the rest is long, the response is aborted.
   *
   * @param received number of bytes of the body that have been read
   */
  cancel(received = 0): void {
    const { source, length } = this;
    if (source.readableEnded || source.destroyed) return;
    if (length !== undefined && length - received > MAX_DISCARDED_BYTES) {
      this.#abort();
      return;
    }
    let discarded = 0;
    const timer = setTimeout(this.#abort, MAX_DISCARDING_MS).unref();
    source.on('close', () => clearTimeout(timer));
    source.on('end', () => clearTimeout(timer));
    source.on('data', (chunk: Uint8Array) => {
      discarded += chunk.byteLength;
      if (discarded > MAX_DISCARDED_BYTES) this.#abort();
    });
    source.resume();
  }
}
