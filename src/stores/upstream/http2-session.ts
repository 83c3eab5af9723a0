import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type OutgoingHttpHeaders,
} from 'node:http2';
import type { Socket } from 'node:net';
import { afterHttp2Read } from '../../util/after-http2-read.js';
import { Deadline } from './deadline.js';
import { ConnectionLostError, upstreamError, upstreamTimeout } from './errors.js';
import type { UpstreamSettings } from './options.js';
import type { UpstreamRequest } from './request.js';
import { UpstreamResponse } from './response.js';
import { type OutgoingRequest, sendRequest } from './send-request.js';

const { NGHTTP2_CANCEL, NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_REFUSED_STREAM } = constants;
/**
 * Idle time after which a PING checks the session before its next stream. A NAT gateway or firewall may drop an idle
 * connection without notice.
 */
const MAX_UNCHECKED_IDLE_MS = 10_000;
/** Time in milliseconds that the upstream has to close its side of a session that has ended. */
const LINGER_MS = 1000;
/**
 * Value of `maxSessionMemory` of node:http2. Uploads need far less, because they wait until each chunk has been
 * written.
 */
const SESSION_MEGABYTES = 64;

/** HTTP/2 session with the upstream. It keeps the process alive only while it has streams. */
export class Http2Session {
  /** Resolves when the session has closed, with or without an error. */
  readonly closed: Promise<void>;
  readonly #session: ClientHttp2Session;
  readonly #socket: Socket;
  readonly #settings: UpstreamSettings;
  #streamCount = 0;
  #idleSince = performance.now();
  #isDrained = false;
  #verifying: Promise<boolean> | undefined;

  /** Opens a session on `socket`. The socket is connected, or is connecting, to an upstream that speaks HTTP/2. */
  static open(settings: UpstreamSettings, socket: Socket): Promise<Http2Session> {
    const { origin, limits } = settings;
    return new Promise((resolve, reject) => {
      const session = connect(origin, {
        createConnection: () => socket,
        settings: { enablePush: false, initialWindowSize: limits.streamWindowBytes },
        maxSessionMemory: SESSION_MEGABYTES,
      });
      const deadline = new Deadline((expectation) => session.destroy(upstreamTimeout(origin.origin, expectation)));
      deadline.set('connectTimeoutMs', limits.connectTimeoutMs, 'connection');
      // This listener is never removed: without a listener, an error would end the process.
      session.on('error', (error) => reject(upstreamError(origin.origin, error)));
      session.on('close', () => {
        deadline.clear();
        reject(upstreamError(origin.origin, new Error('the connection was closed before the session was established')));
      });
      session.once('connect', () => {
        deadline.clear();
        session.setLocalWindowSize(limits.sessionWindowBytes);
        socket.unref();
        resolve(new Http2Session(session, socket, settings));
      });
    });
  }

  private constructor(session: ClientHttp2Session, socket: Socket, settings: UpstreamSettings) {
    this.#session = session;
    this.#socket = socket;
    this.#settings = settings;
    this.closed = new Promise((resolve) => session.once('close', resolve));
  }

  /** `true` if a new stream may be opened. It is `false` after a GOAWAY of the upstream. */
  get isUsable(): boolean {
    return !(this.#isDrained || this.#session.closed || this.#session.destroyed);
  }

  /** Resolves to {@link isUsable}. If the session has been idle for a long time, it sends a PING first. */
  async verify(): Promise<boolean> {
    if (!this.isUsable) return false;
    if (this.#streamCount > 0 || performance.now() - this.#idleSince < MAX_UNCHECKED_IDLE_MS) return true;
    this.#verifying ??= this.#ping().finally(() => {
      this.#verifying = undefined;
    });
    return this.#verifying;
  }

  /** Sends a request, like `Transport.send`. */
  async send(request: UpstreamRequest): Promise<UpstreamResponse> {
    const { origin, limits } = this.#settings;
    const { method, path, headers, upload } = request;
    const fields: OutgoingHttpHeaders = { ...headers, ':method': method, ':path': path };
    if (upload?.size !== undefined) fields['content-length'] = upload.size;
    let stream: ClientHttp2Stream;
    try {
      // nginx answers a DELETE with 415 if its headers do not end the stream: it expects a body.
      stream = this.#session.request(fields, { endStream: upload === undefined });
    } catch (cause) {
      throw new ConnectionLostError(true, cause); // the session has ended since `verify`
    }
    this.#track(stream);
    const outgoing = new OutgoingHttp2Request(stream, this.#session, origin.origin);
    const response = sendRequest(outgoing, request, limits, origin.origin);
    // After a timeout, the connection may be dead. The session is drained, so that the next request opens another
    // connection.
    response.catch((error) => isTimeout(error) && this.drain());
    return response;
  }

  /** Opens no more streams, and closes the session when the open streams have completed. */
  drain(): void {
    this.#isDrained = true;
    afterHttp2Read(() => this.#session.close());
    this.#releaseIfIdle();
  }

  /** Closes the session and its socket at once, and aborts every stream. */
  destroy(): void {
    this.#isDrained = true;
    afterHttp2Read(() => {
      this.#session.destroy();
      this.#socket.destroy();
    });
  }

  #track(stream: ClientHttp2Stream): void {
    if (this.#streamCount++ === 0) this.#socket.ref();
    stream.once('close', () => {
      this.#idleSince = performance.now();
      this.#streamCount--;
      this.#releaseIfIdle();
    });
  }

  /**
   * If the session has no streams, its socket no longer keeps the process alive. If it is also drained, it is closed.
   */
  #releaseIfIdle(): void {
    if (this.#streamCount > 0) return;
    this.#socket.unref();
    // Without this timer, Node would wait without a limit until the upstream closes its side.
    if (!this.isUsable) setTimeout(() => this.#socket.destroy(), LINGER_MS).unref();
  }

  #ping(): Promise<boolean> {
    return new Promise((resolve) => {
      const deadline = new Deadline(() => this.#session.destroy());
      deadline.set('connectTimeoutMs', this.#settings.limits.connectTimeoutMs, 'answer to a PING');
      this.#socket.ref();
      const isSent = this.#session.ping((error) => {
        deadline.clear();
        this.#releaseIfIdle();
        resolve(error === null && this.isUsable);
      });
      if (isSent) return;
      deadline.clear();
      resolve(false);
    });
  }
}

class OutgoingHttp2Request implements OutgoingRequest {
  readonly sink: ClientHttp2Stream;
  readonly #session: ClientHttp2Session;
  readonly #origin: string;

  constructor(sink: ClientHttp2Stream, session: ClientHttp2Session, origin: string) {
    this.sink = sink;
    this.#session = session;
    this.#origin = origin;
  }

  subscribe({ onConnected, onResponse }: Parameters<OutgoingRequest['subscribe']>[0]): void {
    const { sink } = this;
    onConnected();
    sink.on('response', ({ ':status': status, ...headers }) => {
      onResponse(new UpstreamResponse(status ?? 0, headers, sink, () => this.abort()));
    });
  }

  abort(): void {
    afterHttp2Read(() => this.#reset());
  }

  #reset(): void {
    const { sink } = this;
    if (sink.closed || sink.destroyed) return;
    // close() would end the body first, and the upstream would store a truncated upload as if it were complete.
    if (sink.writableEnded) sink.close(NGHTTP2_CANCEL);
    else sink.destroy(Object.assign(new Error('the request was aborted'), { code: 'ABORT_ERR' }));
  }

  explain(error: Error | undefined): Error {
    const { rstCode } = this.sink;
    const cause = error ?? new Error(`the stream was reset with code ${rstCode}`);
    // nghttp2 also uses this code to close streams that a GOAWAY excludes.
    if (rstCode === NGHTTP2_REFUSED_STREAM) return new ConnectionLostError(true, cause);
    // Node uses this code to close all streams of a session if too many bytes were queued in streams that were reset.
    const isOverResetBudget = rstCode === NGHTTP2_ENHANCE_YOUR_CALM;
    if (isOverResetBudget || this.#session.closed || this.#session.destroyed) {
      return new ConnectionLostError(false, cause);
    }
    return upstreamError(this.#origin, cause);
  }
}

function isTimeout(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_HOTBLOB_UPSTREAM_TIMEOUT';
}
