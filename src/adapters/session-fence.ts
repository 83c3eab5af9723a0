import type { Http2Session } from 'node:http2';

interface Held {
  readonly sequence: number;
  readonly release: () => void;
}

const fences = new WeakMap<Http2Session, SessionFence>();

/**
 * What destroyed streams of one session have left behind. A stream's chunks are read by the session until they are on
 * the wire, even after the stream is gone and its write's callback has been called. They may be used again when something
 * that entered the session later has left it: a write that succeeded, or a PING that was answered; or when the session's
 * socket is closed.
 */
export class SessionFence {
  readonly #session: Http2Session;
  readonly #held: Held[] = [];
  #sequence = 0;
  #isPinging = false;
  #isClosed = false;

  static of(session: Http2Session): SessionFence {
    let fence = fences.get(session);
    if (fence === undefined) {
      fence = new SessionFence(session);
      fences.set(session, fence);
    }
    return fence;
  }

  private constructor(session: Http2Session) {
    this.#session = session;
    // Emitted after the close of the socket (lib/internal/http2/core.js, finishSessionClose).
    session.once('close', () => {
      this.#isClosed = true;
      this.passed(Number.POSITIVE_INFINITY);
    });
  }

  /** Marks where something enters the session. */
  enter(): number {
    return ++this.#sequence;
  }

  /** Says that what entered at `sequence` has left: so has all that entered before. */
  passed(sequence: number): void {
    while (this.#held[0] !== undefined && this.#held[0].sequence < sequence) this.#held.shift()?.release();
  }

  /** Calls `release` once all that has entered so far has left. */
  hold(release: () => void): void {
    if (this.#isClosed) {
      release();
      return;
    }
    this.#held.push({ sequence: this.enter(), release });
    this.#ping();
  }

  #ping(): void {
    if (this.#isPinging || this.#session.destroyed) return;
    const sequence = this.enter();
    this.#isPinging = this.#session.ping((error) => {
      this.#isPinging = false;
      if (error) return; // the session is ending, and its close releases the rest
      this.passed(sequence);
      if (this.#held.length > 0) this.#ping();
    });
  }
}
