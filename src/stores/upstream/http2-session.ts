import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type OutgoingHttpHeaders,
} from 'node:http2';
import type { Socket } from 'node:net';
import { converse, type Outgoing } from './conversation.js';
import { Deadline } from './deadline.js';
import { Unanswered, upstreamFailed, upstreamLate } from './errors.js';
import type { UpstreamSettings } from './options.js';
import type { UpstreamRequest } from './request.js';
import { UpstreamResponse } from './response.js';

const { NGHTTP2_CANCEL, NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_REFUSED_STREAM } = constants;
/** After so long without a stream the peer is asked by PING whether it is still there: what forgets connections says nothing. */
const TRUSTED_IDLE_MS = 10_000;
/** So long the peer may take to close its side of a session that has ended. */
const LINGER_MS = 1000;
/** The unit of maxSessionMemory. Uploads are written chunk by chunk, so that this bounds only what no stream has. */
const SESSION_MEGABYTES = 64;

/** One session of HTTP/2 with the peer. It keeps the process alive only while it has a stream. */
export class Http2Session {
  /** Resolves when it is gone, for whatever reason. */
  readonly closed: Promise<void>;
  readonly #session: ClientHttp2Session;
  readonly #socket: Socket;
  readonly #settings: UpstreamSettings;
  #streams = 0;
  #usedAt = performance.now();
  #isRetired = false;
  #verifying: Promise<boolean> | undefined;

  /** Takes over `socket`, which connects to a peer that speaks HTTP/2, or has done so. */
  static open(settings: UpstreamSettings, socket: Socket): Promise<Http2Session> {
    const { origin, limits } = settings;
    return new Promise((resolve, reject) => {
      const session = connect(origin, {
        createConnection: () => socket,
        settings: { enablePush: false, initialWindowSize: limits.streamWindowBytes },
        maxSessionMemory: SESSION_MEGABYTES,
      });
      const deadline = new Deadline((waitedFor) => session.destroy(upstreamLate(origin.origin, waitedFor)));
      deadline.set(limits.connectTimeoutMs, 'connection');
      // It stays: without a listener an error would end the process.
      session.on('error', (error) => reject(upstreamFailed(origin.origin, error)));
      session.on('close', () => {
        deadline.clear();
        reject(upstreamFailed(origin.origin, new Error('the connection was closed at its beginning')));
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

  /** Whether a new stream may begin: not after GOAWAY, which Node takes for the end of its own side too. */
  get isUsable(): boolean {
    return !(this.#isRetired || this.#session.closed || this.#session.destroyed);
  }

  /** As {@link isUsable}; a session that has been idle for long is asked first. */
  async verify(): Promise<boolean> {
    if (!this.isUsable) return false;
    if (this.#streams > 0 || performance.now() - this.#usedAt < TRUSTED_IDLE_MS) return true;
    this.#verifying ??= this.#ping().finally(() => {
      this.#verifying = undefined;
    });
    return this.#verifying;
  }

  /** As {@link Transport.send}. */
  async send(request: UpstreamRequest): Promise<UpstreamResponse> {
    const { origin, limits } = this.#settings;
    const { method, path, headers, upload } = request;
    const all: OutgoingHttpHeaders = { ...headers, ':method': method, ':path': path };
    if (upload?.size !== undefined) all['content-length'] = upload.size;
    let stream: ClientHttp2Stream;
    try {
      // nginx takes a DELETE that does not end with its headers for one that has a body, and answers 415.
      stream = this.#session.request(all, { endStream: upload === undefined });
    } catch (cause) {
      throw new Unanswered(true, cause); // the session has ended since it was looked at
    }
    this.#begin(stream);
    const answer = converse(new Http2Outgoing(stream, this.#session, origin.origin), request, limits, origin.origin);
    // A peer that does not answer one request may be gone altogether: the next one tries a new connection.
    answer.catch((error) => isTimeout(error) && this.retire());
    return answer;
  }

  /** Lets streams that have begun complete, and then ends. */
  retire(): void {
    this.#isRetired = true;
    if (!this.#session.destroyed) this.#session.close();
    this.#rest();
  }

  /** Ends it with all its streams. */
  destroy(): void {
    this.#session.destroy();
    this.#socket.destroy();
  }

  #begin(stream: ClientHttp2Stream): void {
    if (this.#streams++ === 0) this.#socket.ref();
    stream.once('close', () => {
      this.#usedAt = performance.now();
      this.#streams--;
      this.#rest();
    });
  }

  /** Without streams it keeps no process alive, and on its way out it has nothing more to wait for. */
  #rest(): void {
    if (this.#streams > 0) return;
    this.#socket.unref();
    // Node waits for the peer to close its side as well, however long.
    if (!this.isUsable) setTimeout(() => this.#socket.destroy(), LINGER_MS).unref();
  }

  #ping(): Promise<boolean> {
    return new Promise((resolve) => {
      const deadline = new Deadline(() => this.#session.destroy());
      deadline.set(this.#settings.limits.connectTimeoutMs, 'answer to a PING');
      this.#socket.ref();
      const isSent = this.#session.ping((error) => {
        deadline.clear();
        this.#rest();
        resolve(error === null && this.isUsable);
      });
      if (isSent) return;
      deadline.clear();
      resolve(false);
    });
  }
}

class Http2Outgoing implements Outgoing {
  readonly sink: ClientHttp2Stream;
  readonly #session: ClientHttp2Session;
  readonly #origin: string;

  constructor(sink: ClientHttp2Stream, session: ClientHttp2Session, origin: string) {
    this.sink = sink;
    this.#session = session;
    this.#origin = origin;
  }

  watch({ connected, answered }: Parameters<Outgoing['watch']>[0]): void {
    const { sink } = this;
    connected();
    sink.on('response', ({ ':status': status, ...headers }) => {
      answered(new UpstreamResponse(status ?? 0, headers, sink, () => this.abort()));
    });
  }

  abort(): void {
    const { sink } = this;
    if (sink.closed || sink.destroyed) return;
    // close() would end the body first, and the peer take what it has of an upload for the whole.
    if (sink.writableEnded) sink.close(NGHTTP2_CANCEL);
    else sink.destroy(Object.assign(new Error('the request is given up'), { code: 'ABORT_ERR' }));
  }

  explain(error: Error | undefined): Error {
    const { rstCode } = this.sink;
    const cause = error ?? new Error(`the stream was reset with code ${rstCode}`);
    // What a GOAWAY names as not processed, nghttp2 ends with this code, too.
    if (rstCode === NGHTTP2_REFUSED_STREAM) return new Unanswered(true, cause);
    // Node says so of every stream of a session that has lost too much of what was queued in streams that were reset.
    const isWorn = rstCode === NGHTTP2_ENHANCE_YOUR_CALM;
    if (isWorn || this.#session.closed || this.#session.destroyed) return new Unanswered(false, cause);
    return upstreamFailed(this.#origin, cause);
  }
}

function isTimeout(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_HOTBLOB_UPSTREAM_TIMEOUT';
}
