import type { Socket } from 'node:net';
import type { LiveConnection } from './live-connection.js';
import { logConnection } from './log.js';
import type { ConnectionTotals } from './stats.js';

/** How long a client that has said nothing yet may go on doing so while the server closes. */
const LAST_WORDS_MS = 1000;

/** A connection of which nobody knows yet what it speaks. */
export class UnknownConnection implements LiveConnection {
  readonly protocol = 'unknown';
  readonly isRetiring = false;
  readonly #socket: Socket;
  readonly #totals: ConnectionTotals;
  #deadline: number;

  constructor(socket: Socket, totals: ConnectionTotals, deadline: number) {
    this.#socket = socket;
    this.#totals = totals;
    this.#deadline = deadline;
  }

  check(now: number): void {
    if (now <= this.#deadline) return;
    logConnection('no protocol within the time for it');
    this.#totals.cutOff.preface++;
    this.destroy();
  }

  retire(): void {
    this.#deadline = Math.min(this.#deadline, performance.now() + LAST_WORDS_MS);
  }

  destroy(): void {
    this.#socket.destroy();
  }
}
