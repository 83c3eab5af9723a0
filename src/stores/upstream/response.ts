import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';

/** As much is read of a body that nobody wants, so that its connection, or the peer's count of resets, is spared. */
const DRAINED_BYTES = 64 * 1024;
const DRAINED_MS = 1000;

/** An answer, from its headers on. Its body waits. */
export class UpstreamResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Bytes of the body, as announced. */
  readonly length: number | undefined;
  /** Errors of it may go unheard. */
  readonly source: Readable;
  readonly #abort: () => void;

  /** `abort` ends it early, whatever else that costs. */
  constructor(status: number, headers: IncomingHttpHeaders, source: Readable, abort: () => void) {
    this.status = status;
    this.headers = headers;
    const length = headers['content-length'];
    this.length = length !== undefined && /^\d{1,15}$/.test(length) ? Number(length) : undefined;
    this.source = source;
    this.#abort = abort;
    source.on('error', () => {});
    // Said at once: what nobody has begun to read, node:http2 may throw away.
    source.pause();
  }

  /** Lets go of what has not been read; `received` says how much has been. */
  cancel(received = 0): void {
    const { source, length } = this;
    if (source.readableEnded || source.destroyed) return;
    if (length !== undefined && length - received > DRAINED_BYTES) {
      this.#abort();
      return;
    }
    let drained = 0;
    const timer = setTimeout(this.#abort, DRAINED_MS).unref();
    source.on('close', () => clearTimeout(timer));
    source.on('end', () => clearTimeout(timer));
    source.on('data', (chunk: Uint8Array) => {
      drained += chunk.byteLength;
      if (drained > DRAINED_BYTES) this.#abort();
    });
    source.resume();
  }
}
