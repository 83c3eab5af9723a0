import { constants, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { isForgotten } from '../adapters/forgotten-stream.js';
import type { LiveConnection } from './live-connection.js';
import { logConnection } from './log.js';
import type { Limits } from './options.js';
import { RateLimit } from './rate-limit.js';
import type { UploadBudget } from './receive-windows.js';
import type { ConnectionTotals, CutOffReason } from './stats.js';
import { WriteProgress } from './write-progress.js';

const { NGHTTP2_NO_ERROR, NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_FLAG_END_STREAM } = constants;
/** The last stream of a GOAWAY that still lets every stream in (RFC 9113, 6.8). */
const EVERY_STREAM = 2 ** 31 - 1;

/** How long the second GOAWAY waits for the answer to a PING. */
const NOTICE_MS = 1000;

/** So many streams are kept before those that have ended are looked for. */
const SWEPT_STREAMS = 64;

/** What the connections of one server have in common. */
export interface ServerShares {
  readonly limits: Limits;
  readonly budget: UploadBudget;
  readonly totals: ConnectionTotals;
}

interface OpenStream {
  readonly stream: ServerHttp2Stream;
  readonly hasBody: boolean;
}

/** Where a session is on its way out. Asked: the client knows; refusing: no new stream begins. */
type Phase = 'open' | 'asked' | 'refusing';

/** A session of HTTP/2, and what Node does not watch about it. */
export class Http2Connection implements LiveConnection {
  readonly protocol = 'http2';
  readonly #session: ServerHttp2Session;
  readonly #socket: Socket;
  readonly #limits: Limits;
  readonly #expiresAt: number;
  readonly #budget: UploadBudget;
  readonly #totals: ConnectionTotals;
  #resets: RateLimit | undefined;
  #controls: RateLimit | undefined;
  /** Those that are open, and some that have ended since the last look. */
  #streams: OpenStream[] = [];
  #nextSweep = SWEPT_STREAMS;
  /** Streams with bytes that had not left at the last look. */
  readonly #writing = new Map<ServerHttp2Stream, WriteProgress>();
  #uploads = 0;
  #sessionWindow = 0;
  #streamWindow: number;
  #phase: Phase = 'open';
  #askedAt = 0;
  #idleSince = performance.now();
  #bytesRead = 0;
  #bytesWritten = 0;
  #heardAt = this.#idleSince;
  #movedAt = this.#idleSince;
  /** When the answer to a PING has to be there; undefined while none is awaited. */
  #answerDueAt: number | undefined;

  constructor(
    session: ServerHttp2Session,
    socket: Socket,
    { limits, budget, totals }: ServerShares,
    expiresAt: number,
  ) {
    this.#session = session;
    this.#socket = socket;
    this.#limits = limits;
    this.#budget = budget;
    this.#totals = totals;
    totals.accepted.http2++;
    this.#expiresAt = expiresAt;
    this.#streamWindow = limits.streamWindowBytes;
    this.#setWindows();
    session.on('error', (error) => logConnection('HTTP/2: %s', error.message));
    session.on('stream', (stream, _headers, flags) => this.#begin(stream, (flags & NGHTTP2_FLAG_END_STREAM) === 0));
    const onControl = () => this.#countControl();
    session.on('ping', onControl).on('remoteSettings', onControl);
    session.on('localSettings', () => this.#setWindows());
    session.on('close', () => {
      for (const open of this.#streams.splice(0)) this.#forget(open);
    });
  }

  /** Streams that are open. */
  get streams(): number {
    return this.#streams.reduce((count, { stream }) => (isOver(stream) ? count : count + 1), 0);
  }

  get isRetiring(): boolean {
    return this.#phase !== 'open';
  }

  check(now: number): void {
    const { bytesRead, bytesWritten } = this.#socket;
    if (bytesRead !== this.#bytesRead) this.#heardAt = now;
    if (bytesRead !== this.#bytesRead || bytesWritten !== this.#bytesWritten) this.#movedAt = now;
    this.#bytesRead = bytesRead;
    this.#bytesWritten = bytesWritten;
    this.#sweep();
    this.#checkWrites(now);
    this.#checkPeer(now);
    this.#checkAge(now);
    this.#setWindows();
  }

  /**
   * In two stages (RFC 9113, 6.8): the first asks the client to open no more streams, the second says which have been
   * taken. Node (20.20) takes none after the first: the client hears from the second that it may repeat them.
   */
  retire(): void {
    if (this.#phase !== 'open' || this.#session.destroyed) return;
    this.#phase = 'asked';
    this.#totals.retired.http2++;
    this.#askedAt = performance.now();
    this.#movedAt = this.#askedAt;
    this.#sweep();
    if (this.#streams.length === 0) {
      // Without a stream Node reads no more after the first stage: it would not see that the client has heard.
      this.#refuse();
      return;
    }
    this.#session.goaway(NGHTTP2_NO_ERROR, EVERY_STREAM);
    // Its answer shows that the client has heard.
    if (!this.#session.ping(() => this.#refuse())) this.#refuse();
  }

  destroy(): void {
    this.#session.destroy();
    this.#socket.destroy();
  }

  // Runs for every stream, and adds no listener to it: that would cost as much as the rest of a small request.
  #begin(stream: ServerHttp2Stream, hasBody: boolean): void {
    this.#totals.streams++;
    this.#streams.push({ stream, hasBody });
    if (hasBody) {
      this.#uploads++;
      this.#budget.begin();
      this.#setWindows();
    }
    if (this.#streams.length >= this.#nextSweep) this.#sweep();
  }

  /** Forgets the streams that have ended. */
  #sweep(): void {
    const before = this.#streams.length;
    this.#streams = this.#streams.filter((open) => !isOver(open.stream) || this.#forget(open));
    this.#nextSweep = Math.max(SWEPT_STREAMS, 2 * this.#streams.length);
    if (before > 0) this.#idleSince = performance.now();
  }

  #forget({ stream, hasBody }: OpenStream): false {
    this.#writing.delete(stream);
    if (hasBody) {
      this.#uploads--;
      this.#budget.end();
    }
    // Those that the server resets count too: a client can make it do so (CVE-2025-8671). So do those with NO_ERROR.
    if (stream.rstCode !== NGHTTP2_NO_ERROR || stream.aborted || !stream.destroyed) this.#countReset();
    if (!stream.destroyed) setImmediate(() => stream.destroy());
    return false;
  }

  #countReset(): void {
    this.#totals.resets++;
    this.#resets ??= new RateLimit(this.#limits.resetBurst, this.#limits.resetsPerSecond);
    if (!this.#resets.allows()) this.#calm('resets', 'resets');
  }

  #countControl(): void {
    this.#controls ??= new RateLimit(this.#limits.controlBurst, this.#limits.controlsPerSecond);
    if (!this.#controls.allows()) this.#calm('controls', 'PING and SETTINGS');
  }

  /** Streams that their client does not read are reset; when not even a PING is answered, the session ends. */
  #checkWrites(now: number): void {
    const stalled: ServerHttp2Stream[] = [];
    for (const { stream } of this.#streams) {
      const { writableLength } = stream;
      const isWatched = this.#writing.has(stream) || writableLength > 0;
      if (isWatched && this.#progressOf(stream).isStalled(now, writableLength, writableLength)) stalled.push(stream);
    }
    if (stalled.length === 0) return;
    this.#ping(now, () => {
      logConnection('HTTP/2: of %d streams nothing has left for too long', stalled.length);
      this.#totals.cutOff.stalled += stalled.length;
      for (const stream of stalled) stream.destroy(new Error('the client does not read'));
    });
  }

  #progressOf(stream: ServerHttp2Stream): WriteProgress {
    const known = this.#writing.get(stream);
    if (known !== undefined) return known;
    const progress = new WriteProgress(this.#limits);
    this.#writing.set(stream, progress);
    // Windows of one size follow each other: between two looks it can be another one of the same length.
    stream.on('drain', () => progress.moved(performance.now()));
    return progress;
  }

  #checkPeer(now: number): void {
    const { pingIntervalMs, idleTimeoutMs } = this.#limits;
    if (this.#answerDueAt !== undefined && now > this.#answerDueAt) {
      logConnection('HTTP/2: no answer to a PING in time');
      this.#totals.cutOff.ping++;
      this.destroy();
    } else if (this.#phase === 'open' && this.#streams.length === 0 && now - this.#idleSince > idleTimeoutMs) {
      this.retire();
    } else if (now - this.#heardAt > pingIntervalMs && this.#queuedBytes() === 0) {
      this.#ping(now, ignore);
    }
  }

  #queuedBytes(): number {
    let bytes = 0;
    for (const stream of this.#writing.keys()) bytes += stream.writableLength;
    return bytes;
  }

  /** Sends a PING, unless one is out already. */
  #ping(now: number, onAnswer: () => void): void {
    if (this.#answerDueAt !== undefined || this.#session.destroyed) return;
    const isSent = this.#session.ping((error) => {
      this.#answerDueAt = undefined;
      if (error === null) onAnswer();
    });
    if (!isSent) return;
    const { pingTimeoutMs, minBytesPerSecond } = this.#limits;
    // While a write is in flight Node does not read: the answer is seen when all that is queued has left.
    this.#answerDueAt = now + pingTimeoutMs + (this.#queuedBytes() / minBytesPerSecond) * 1000;
  }

  #checkAge(now: number): void {
    // Somebody else has asked its client to go, such as a handler whose session is worn.
    if (this.#phase === 'open' && this.#session.closed) {
      this.#phase = 'refusing';
      this.#movedAt = now;
      this.#totals.retired.http2++;
    }
    if (now > this.#expiresAt) this.retire();
    if (this.#phase === 'asked' && now - this.#askedAt > NOTICE_MS) this.#refuse();
    if (this.#phase === 'open' || now - this.#movedAt <= this.#limits.graceMs) return;
    logConnection('HTTP/2: nothing has moved for too long after GOAWAY');
    this.#totals.cutOff.grace++;
    this.destroy();
  }

  #refuse(): void {
    this.#phase = 'refusing';
    // Sends the second GOAWAY, and ends the connection with its last stream.
    if (!this.#session.destroyed) this.#session.close();
  }

  #calm(reason: CutOffReason, excess: string): void {
    if (this.#session.destroyed) return;
    this.#totals.cutOff[reason]++;
    logConnection('HTTP/2: too many %s', excess);
    this.#session.destroy(undefined, NGHTTP2_ENHANCE_YOUR_CALM);
  }

  #setWindows(): void {
    if (this.#session.destroyed || this.#session.closed) return;
    const { stream, session } = this.#budget.windows(this.#uploads);
    if (session !== this.#sessionWindow) this.#session.setLocalWindowSize(session);
    this.#sessionWindow = session;
    // One change at a time: each is in force when its client has said so. It reaches streams that are open, too
    // (RFC 9113, 6.9.2).
    if (stream === this.#streamWindow || this.#session.pendingSettingsAck) return;
    this.#session.settings({ initialWindowSize: stream });
    this.#streamWindow = stream;
  }
}

/** With bytes that will never leave, a response that has been ended is not even said to be aborted. */
function isOver(stream: ServerHttp2Stream): boolean {
  return stream.destroyed || (stream.writableLength > 0 && isForgotten(stream));
}

function ignore(): void {}
