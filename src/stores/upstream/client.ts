import { connect } from 'node:net';
import { HotblobError } from '../../contract/errors.js';
import { ConnectionLostError, upstreamError } from './errors.js';
import { Http1Transport, hostOf } from './http1-transport.js';
import { Http2Session } from './http2-session.js';
import { Http2Transport } from './http2-transport.js';
import { negotiateHttp2 } from './negotiation.js';
import type { UpstreamSettings } from './options.js';
import type { UpstreamRequest } from './request.js';
import type { UpstreamResponse } from './response.js';

/** HTTP client for one upstream. Chooses the HTTP version, and retries a request once if that is safe. */
export class UpstreamClient {
  readonly #origin: string;
  readonly #http1: Http1Transport;
  /** Transport for HTTP/2; `undefined` for an `http:` URL without `h2c`. */
  readonly #http2: Http2Transport | undefined;
  #isClosed = false;

  constructor(settings: UpstreamSettings) {
    const { origin, h2c } = settings;
    this.#origin = origin.origin;
    this.#http1 = new Http1Transport(settings);
    if (h2c) {
      this.#http2 = new Http2Transport(() => {
        return Http2Session.open(settings, connect({ host: hostOf(origin), port: Number(origin.port || 80) }));
      });
    } else if (origin.protocol === 'https:') {
      this.#http2 = new Http2Transport(async () => {
        const socket = await negotiateHttp2(settings);
        return socket && Http2Session.open(settings, socket);
      });
    }
  }

  /**
   * Sends a request. Resolves when the response headers have arrived. If the signal is aborted, rejects with its
   * reason. If the upload body fails, rejects with its error.
   *
   * If the connection ends before the response, the request is sent once more on another connection, unless too much of
   * its body has been read. A deletion and an upload with `If-None-Match` are sent once more only if the upstream has not
   * processed them, because a second response could differ from the first.
   *
   * @throws HotblobError `ERR_HOTBLOB_UPSTREAM`, `ERR_HOTBLOB_UPSTREAM_TIMEOUT`, or `ERR_HOTBLOB_CLOSED` after
   *   {@link close}
   */
  async request(request: UpstreamRequest): Promise<UpstreamResponse> {
    try {
      return await this.#send(request);
    } catch (error) {
      if (!(error instanceof ConnectionLostError)) throw error;
      const isSafe = error.isUnprocessed || isIdempotent(request);
      if (!isSafe || request.upload?.isRepeatable === false) throw upstreamError(this.#origin, error.cause);
    }
    try {
      return await this.#send(request);
    } catch (error) {
      throw error instanceof ConnectionLostError ? upstreamError(this.#origin, error.cause) : error;
    }
  }

  /** Closes every connection and aborts the requests in flight. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all([this.#http1.close(), this.#http2?.close()]);
  }

  async #send(request: UpstreamRequest): Promise<UpstreamResponse> {
    request.signal.throwIfAborted();
    if (this.#isClosed) throw new HotblobError('ERR_HOTBLOB_CLOSED', 'the upstream store is closed');
    return (await this.#http2?.send(request)) ?? this.#http1.send(request);
  }
}

/** Returns whether a request that is processed twice has the same effect and the same response as one. */
function isIdempotent({ method, headers }: UpstreamRequest): boolean {
  return method === 'GET' || (method === 'PUT' && headers['if-none-match'] === undefined);
}
