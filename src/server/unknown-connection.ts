import type { Socket } from 'node:net';
import { logConnection } from './log.js';
import type { ServerConnection } from './server-connection.js';
import type { ConnectionTotals } from './stats.js';

/** Time that a client has for its first bytes after the connection was drained. */
const DRAIN_MS = 1000;

/** Connection whose protocol is not known yet. */
export class UnknownConnection implements ServerConnection {
  readonly protocol = 'unknown';
  readonly isDraining = false;
  readonly waitingSince = undefined;
  readonly #socket: Socket;
  readonly #totals: ConnectionTotals;
  #deadline: number;

  constructor(socket: Socket, totals: ConnectionTotals, deadline: number) {
    this.#socket = socket;
    this.#totals = totals;
    this.#deadline = deadline;
  }

  get isIdle(): boolean {
    return !this.#socket.destroyed;
  }

  check(now: number): false {
    if (now <= this.#deadline) return false;
    logConnection('connection destroyed: the client did not send a complete preface in time');
    this.#totals.terminated.preface++;
    this.destroy();
    return false;
  }

  drain(): void {
    this.#deadline = Math.min(this.#deadline, performance.now() + DRAIN_MS);
  }

  evict(): void {
    this.destroy();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}
