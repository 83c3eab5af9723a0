import { connect } from 'node:net';
import { HotblobError } from '../../contract/errors.js';
import { Unanswered, upstreamFailed } from './errors.js';
import { Http1Transport, hostOf } from './http1.js';
import { Http2Sessions } from './http2.js';
import { Http2Session } from './http2-session.js';
import { negotiateHttp2 } from './negotiation.js';
import type { UpstreamSettings } from './options.js';
import type { UpstreamRequest } from './request.js';
import type { UpstreamResponse } from './response.js';

/** The other cache: speaks with it what both understand, and repeats once what may be repeated. */
export class Peer {
  readonly #origin: string;
  readonly #http1: Http1Transport;
  /** Undefined where HTTP/2 is out of the question. */
  readonly #http2: Http2Sessions | undefined;
  #isClosed = false;

  constructor(settings: UpstreamSettings) {
    const { origin, h2c } = settings;
    this.#origin = origin.origin;
    this.#http1 = new Http1Transport(settings);
    if (h2c) {
      this.#http2 = new Http2Sessions(() => {
        return Http2Session.open(settings, connect({ host: hostOf(origin), port: Number(origin.port || 80) }));
      });
    } else if (origin.protocol === 'https:') {
      this.#http2 = new Http2Sessions(async () => {
        const socket = await negotiateHttp2(settings);
        return socket && Http2Session.open(settings, socket);
      });
    }
  }

  /**
   * Resolves when the headers of the answer are there. What the peer has not processed is sent once more, on a fresh
   * session; what it may have processed only where that changes nothing; an upload only while none of it is gone.
   *
   * @throws HotblobError `ERR_HOTBLOB_UPSTREAM`, `ERR_HOTBLOB_UPSTREAM_TIMEOUT`, `ERR_HOTBLOB_OVERLOADED` after
   * {@link close}; the reason of the signal; what the upload's body says
   */
  async request(request: UpstreamRequest): Promise<UpstreamResponse> {
    try {
      return await this.#send(request);
    } catch (error) {
      if (!(error instanceof Unanswered)) throw error;
      const isSafe = error.isUnprocessed || request.method === 'GET';
      if (!isSafe || request.upload?.isTouched === true) throw upstreamFailed(this.#origin, error.cause);
    }
    try {
      return await this.#send(request);
    } catch (error) {
      throw error instanceof Unanswered ? upstreamFailed(this.#origin, error.cause) : error;
    }
  }

  /** Ends every connection, and what is in flight with it. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all([this.#http1.close(), this.#http2?.close()]);
  }

  async #send(request: UpstreamRequest): Promise<UpstreamResponse> {
    request.signal.throwIfAborted();
    if (this.#isClosed) throw new HotblobError('ERR_HOTBLOB_OVERLOADED', 'the store has been closed');
    return (await this.#http2?.send(request)) ?? this.#http1.send(request);
  }
}
