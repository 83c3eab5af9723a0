import { constants, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { resumeReading } from '../adapters/watch-sessions.js';
import { afterHttp2Read } from '../util/after-http2-read.js';
import { ClientWait } from './client-wait.js';
import { logConnection } from './log.js';
import { awaitsClient, isClosed, type OpenStream } from './open-stream.js';
import type { Limits } from './options.js';
import { RateLimit } from './rate-limit.js';
import { SessionWindows, type UploadBudget } from './receive-windows.js';
import type { ServerConnection } from './server-connection.js';
import type { ConnectionTotals, TerminationReason } from './stats.js';
import { WriteProgress } from './write-progress.js';

const { NGHTTP2_NO_ERROR, NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_FLAG_END_STREAM } = constants;
/** Last stream id of a GOAWAY that excludes no stream (RFC 9113, 6.8). */
const MAX_STREAM_ID = 2 ** 31 - 1;

/** Maximum time for which the second GOAWAY waits for the answer to a PING. */
const MAX_NOTICE_MS = 1000;

/** Number of tracked streams from which closed streams are swept when a new stream begins. */
const MIN_SWEPT_STREAMS = 64;

/** State that the sessions of one server share. */
export interface Http2Context {
  readonly limits: Limits;
  readonly budget: UploadBudget;
  readonly totals: ConnectionTotals;
}

/**
 * Phase of a session. `notified`: the first GOAWAY was sent. `closing`: the second GOAWAY was sent, and new streams are
 * refused.
 */
type Phase = 'open' | 'notified' | 'closing';

/** HTTP/2 session. Enforces time limits, rate limits and receive windows that Node does not enforce. */
export class Http2Connection implements ServerConnection {
  readonly protocol = 'http2';
  readonly #session: ServerHttp2Session;
  readonly #socket: Socket;
  readonly #limits: Limits;
  readonly #expiresAt: number;
  readonly #windows: SessionWindows;
  readonly #totals: ConnectionTotals;
  #resets: RateLimit | undefined;
  #controls: RateLimit | undefined;
  /** Open streams, and streams that have closed since the last sweep. */
  #streams: OpenStream[] = [];
  #nextSweep = MIN_SWEPT_STREAMS;
  /** Progress of the streams that had unsent bytes at the last check. */
  readonly #writing = new Map<ServerHttp2Stream, WriteProgress>();
  #phase: Phase = 'open';
  #noticeAt = 0;
  #idleSince = performance.now();
  /** `#idleSince` at the last check. */
  #checkedIdleSince = this.#idleSince;
  #isTerminated = false;
  readonly #wait = new ClientWait();
  #bytesRead = 0;
  #bytesWritten = 0;
  #receivedAt = this.#idleSince;
  #progressAt = this.#idleSince;
  /** Time limit for the answer to the PING in flight; `undefined` if no PING is in flight. */
  #pingDeadline: number | undefined;

  constructor(
    session: ServerHttp2Session,
    socket: Socket,
    { limits, budget, totals }: Http2Context,
    expiresAt: number,
  ) {
    this.#session = session;
    this.#socket = socket;
    this.#limits = limits;
    this.#windows = new SessionWindows(session, budget, limits);
    this.#totals = totals;
    totals.accepted.http2++;
    this.#expiresAt = expiresAt;
    session.on('error', (error) => logConnection('HTTP/2 session error: %s', error.message));
    session.on('stream', (stream, _headers, flags) =>
      this.#trackStream(stream, (flags & NGHTTP2_FLAG_END_STREAM) === 0),
    );
    const onControl = () => this.#countControl();
    session.on('ping', onControl).on('remoteSettings', onControl);
    session.on('localSettings', () => this.#windows.update());
    session.on('close', () => {
      for (const open of this.#streams.splice(0)) this.#untrack(open);
    });
  }

  /** Number of open streams. */
  get streams(): number {
    return this.#streams.reduce((count, { stream }) => (isClosed(stream, this.#socket) ? count : count + 1), 0);
  }

  get isDraining(): boolean {
    return this.#phase !== 'open';
  }

  get isIdle(): boolean {
    return !this.#isOver && this.#streams.every(({ stream }) => isClosed(stream, this.#socket));
  }

  get waitingSince(): number | undefined {
    return this.#isOver ? undefined : this.#wait.since(this.#bytesMoved());
  }

  get #isOver(): boolean {
    return this.#isTerminated || this.#session.destroyed;
  }

  #bytesMoved(): number {
    return this.#socket.bytesRead + this.#socket.bytesWritten;
  }

  check(now: number): boolean {
    // If the client does not read, Node waits for ever until it has sent the GOAWAY.
    if (this.#isTerminated) this.#socket.destroy();
    const { bytesRead, bytesWritten } = this.#socket;
    if (bytesRead !== this.#bytesRead) this.#receivedAt = now;
    if (bytesRead !== this.#bytesRead || bytesWritten !== this.#bytesWritten) this.#progressAt = now;
    this.#bytesRead = bytesRead;
    this.#bytesWritten = bytesWritten;
    resumeReading(this.#socket);
    this.#sweep();
    const isWaiting = this.#streams.length > 0 && this.#streams.every(awaitsClient);
    this.#wait.update(now, isWaiting, this.#bytesMoved());
    this.#checkWrites(now);
    this.#checkPeer(now);
    this.#checkAge(now);
    this.#windows.update();
    const wasUsed = this.#idleSince !== this.#checkedIdleSince;
    this.#checkedIdleSince = this.#idleSince;
    return wasUsed;
  }

  /**
   * Sends GOAWAY twice (RFC 9113, 6.8). The first one tells the client to open no more streams. The second GOAWAY
   * follows after the answer to a PING and names the last stream that was accepted. Node (20.20) accepts no new streams
   * after the first GOAWAY. The second GOAWAY tells the client that it may retry them.
   */
  drain(): void {
    if (this.#phase !== 'open' || this.#isOver) return;
    this.#phase = 'notified';
    this.#totals.drained.http2++;
    this.#noticeAt = performance.now();
    this.#progressAt = this.#noticeAt;
    this.#sweep();
    if (this.#streams.length === 0) {
      // If there are no streams, Node stops reading after the first GOAWAY and would not see the answer to a PING.
      this.#closeSession();
      return;
    }
    this.#session.goaway(NGHTTP2_NO_ERROR, MAX_STREAM_ID);
    // The answer to the PING shows that the client has received the GOAWAY.
    if (!this.#session.ping(() => this.#closeSession())) this.#closeSession();
  }

  evict(): void {
    this.#terminate(NGHTTP2_NO_ERROR);
  }

  destroy(): void {
    this.#isTerminated = true;
    afterHttp2Read(() => {
      this.#session.destroy();
      this.#socket.destroy();
    });
  }

  // Adds no listeners to the stream, because they would cost as much as the rest of a small request.
  #trackStream(stream: ServerHttp2Stream, hasBody: boolean): void {
    this.#totals.streams++;
    this.#streams.push({ stream, hasBody });
    if (hasBody) this.#windows.beginUpload();
    if (this.#streams.length >= this.#nextSweep) this.#sweep();
  }

  /** Stops tracking the streams that have closed. */
  #sweep(): void {
    const before = this.#streams.length;
    this.#streams = this.#streams.filter((open) => !isClosed(open.stream, this.#socket) || this.#untrack(open));
    this.#nextSweep = Math.max(MIN_SWEPT_STREAMS, 2 * this.#streams.length);
    if (before > 0) this.#idleSince = performance.now();
  }

  #untrack({ stream, hasBody }: OpenStream): false {
    this.#writing.delete(stream);
    if (hasBody) this.#windows.endUpload();
    // Resets by the server also count, because a client can cause them (CVE-2025-8671). Resets with NO_ERROR count too.
    if (stream.rstCode !== NGHTTP2_NO_ERROR || stream.aborted || !stream.destroyed) this.#countReset();
    if (!stream.destroyed) afterHttp2Read(() => stream.destroy());
    return false;
  }

  #countReset(): void {
    this.#totals.resets++;
    this.#resets ??= new RateLimit(this.#limits.resetBurst, this.#limits.resetsPerSecond);
    if (!this.#resets.allows()) this.#enhanceYourCalm('resets', 'resets');
  }

  #countControl(): void {
    this.#controls ??= new RateLimit(this.#limits.controlBurst, this.#limits.controlsPerSecond);
    if (!this.#controls.allows()) this.#enhanceYourCalm('controls', 'PING and SETTINGS frames');
  }

  /**
   * Resets stalled streams if the client answers a PING. If the client does not answer, `#checkPeer` destroys the
   * session.
   */
  #checkWrites(now: number): void {
    const stalled: ServerHttp2Stream[] = [];
    for (const { stream } of this.#streams) {
      const { writableLength } = stream;
      const isWatched = this.#writing.has(stream) || writableLength > 0;
      if (isWatched && this.#progressOf(stream).isStalled(now, writableLength, writableLength)) stalled.push(stream);
    }
    if (stalled.length === 0) return;
    this.#ping(now, () => {
      logConnection('HTTP/2: resetting %d stalled streams', stalled.length);
      this.#totals.terminated.stalled += stalled.length;
      const error = new Error('stalled stream: the client does not read the response');
      for (const stream of stalled) afterHttp2Read(() => stream.destroy(error));
    });
  }

  #progressOf(stream: ServerHttp2Stream): WriteProgress {
    const existing = this.#writing.get(stream);
    if (existing !== undefined) return existing;
    const progress = new WriteProgress(this.#limits);
    this.#writing.set(stream, progress);
    // Between two checks, a window can be replaced by another window of the same length. Only 'drain' shows this
    // progress.
    stream.on('drain', () => progress.recordProgress(performance.now()));
    return progress;
  }

  #checkPeer(now: number): void {
    const { pingIntervalMs, idleTimeoutMs } = this.#limits;
    if (this.#pingDeadline !== undefined && now > this.#pingDeadline) {
      logConnection('HTTP/2 session destroyed: no answer to a PING in time');
      this.#totals.terminated.ping++;
      this.destroy();
    } else if (this.#phase === 'open' && this.#streams.length === 0 && now - this.#idleSince > idleTimeoutMs) {
      this.drain();
    } else if (now - this.#receivedAt > pingIntervalMs && this.#queuedBytes() === 0) {
      this.#ping(now, ignore);
    }
  }

  #queuedBytes(): number {
    let bytes = 0;
    for (const stream of this.#writing.keys()) bytes += stream.writableLength;
    return bytes;
  }

  /** Sends a PING, unless one is in flight. */
  #ping(now: number, onAnswer: () => void): void {
    if (this.#pingDeadline !== undefined || this.#session.destroyed) return;
    const isSent = this.#session.ping((error) => {
      this.#pingDeadline = undefined;
      if (error === null) onAnswer();
    });
    if (!isSent) return;
    const { pingTimeoutMs, minBytesPerSecond } = this.#limits;
    // Node does not read while a write is in flight. It sees the answer only after all queued bytes have been sent.
    this.#pingDeadline = now + pingTimeoutMs + (this.#queuedBytes() / minBytesPerSecond) * 1000;
  }

  #checkAge(now: number): void {
    // Other code has closed the session, for example a handler because the session is past its reset budget.
    if (this.#phase === 'open' && this.#session.closed) {
      this.#phase = 'closing';
      this.#progressAt = now;
      this.#totals.drained.http2++;
    }
    if (now > this.#expiresAt) this.drain();
    if (this.#phase === 'notified' && now - this.#noticeAt > MAX_NOTICE_MS) this.#closeSession();
    if (this.#phase === 'open' || now - this.#progressAt <= this.#limits.graceMs) return;
    logConnection('HTTP/2 session destroyed: no progress within the grace period after GOAWAY');
    this.#totals.terminated.grace++;
    this.destroy();
  }

  #closeSession(): void {
    this.#phase = 'closing';
    // Sends the second GOAWAY, and closes the connection after the last stream.
    afterHttp2Read(() => this.#session.close());
  }

  #enhanceYourCalm(reason: TerminationReason, excess: string): void {
    if (this.#isOver) return;
    this.#totals.terminated[reason]++;
    logConnection('HTTP/2 session destroyed: too many %s', excess);
    this.#terminate(NGHTTP2_ENHANCE_YOUR_CALM);
  }

  /** Sends GOAWAY and destroys the session. The next check destroys the socket. */
  #terminate(code: number): void {
    this.#isTerminated = true;
    // `destroy()` would pass the code to the streams as an error, which ends the process if a stream has no listener.
    if (code !== NGHTTP2_NO_ERROR) this.#session.goaway(code);
    afterHttp2Read(() => this.#session.destroy());
  }
}

function ignore(): void {}
