import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { LiveConnection } from './live-connection.js';
import { logConnection } from './log.js';
import type { Limits } from './options.js';
import type { ConnectionTotals } from './stats.js';
import { WriteProgress } from './write-progress.js';

/** How long an idle connection that is to go may wait for a request: in its answer the client hears of it. */
const LAST_REQUEST_MS = 1000;

/** A connection that speaks HTTP/1.1. How long it may be idle or send its headers is node:http's to watch. */
export class Http1Connection implements LiveConnection {
  readonly protocol = 'http1';
  /** The next response is then its last, and says so: `Connection: close` (RFC 9112, 9.6). */
  isRetiring = false;
  /** The latest one: pipelined ones leave in their order. */
  response: ServerResponse | undefined;
  readonly #socket: Socket;
  readonly #limits: Limits;
  readonly #totals: ConnectionTotals;
  readonly #expiresAt: number;
  /** When it was asked to go. */
  #leavingSince = Number.POSITIVE_INFINITY;
  /** Made at the first look: most connections that come for one request are gone by then. */
  #progress: WriteProgress | undefined;

  constructor(socket: Socket, limits: Limits, totals: ConnectionTotals, expiresAt: number) {
    this.#socket = socket;
    this.#limits = limits;
    this.#totals = totals;
    totals.accepted.http1++;
    this.#expiresAt = expiresAt;
  }

  check(now: number): void {
    const { writableLength, bytesWritten } = this.#socket;
    if (now > this.#expiresAt) this.#announceEnd();
    if (now - this.#leavingSince > LAST_REQUEST_MS && this.#isIdle()) this.#socket.destroySoon();
    this.#progress ??= this.#watch();
    // What has been handed over counts as written before it has left.
    if (!this.#progress.isStalled(now, writableLength, bytesWritten - writableLength)) return;
    logConnection('HTTP/1.1: no byte of %d has left for too long', writableLength);
    this.#totals.cutOff.stalled++;
    this.destroy();
  }

  // Node's own closeIdleConnections() takes a response for over that has been ended and is still being sent.
  #isIdle(): boolean {
    return this.response === undefined || (this.response.writableFinished && this.#socket.writableLength === 0);
  }

  #watch(): WriteProgress {
    // HTTP/1.1 has no PING: the kernel finds out which peers are gone.
    this.#socket.setKeepAlive(true, this.#limits.pingIntervalMs);
    return new WriteProgress(this.#limits);
  }

  #announceEnd(): void {
    if (!this.isRetiring) this.#totals.retired.http1++;
    this.isRetiring = true;
  }

  retire(): void {
    this.#announceEnd();
    this.#leavingSince = performance.now();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}
