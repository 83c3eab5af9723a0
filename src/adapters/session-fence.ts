import type { Http2Session } from 'node:http2';

interface PendingRelease {
  readonly sequence: number;
  readonly release: () => void;
}

const fences = new WeakMap<Http2Session, SessionFence>();

/**
 * Delays the release of memory that an HTTP/2 session may still read. libuv reads the chunks of a destroyed stream
 * until they have been sent, even after the callback of the write. The memory may be reused after a write or PING that
 * entered the session later has left it: the write has succeeded, or the PING was answered. It may also be reused when
 * the socket of the session is closed.
 */
export class SessionFence {
  readonly #session: Http2Session;
  readonly #pending: PendingRelease[] = [];
  /** Calls that wait for the answer to a PING. */
  readonly #unanswered: PendingRelease[] = [];
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
    // The session emits 'close' after the socket was closed (lib/internal/http2/core.js, finishSessionClose).
    session.once('close', () => {
      this.#isClosed = true;
      this.passed(Number.POSITIVE_INFINITY);
      releaseUntil(this.#unanswered, Number.POSITIVE_INFINITY);
    });
  }

  /** Registers a write or PING that enters the session. Returns its sequence number. */
  enter(): number {
    return ++this.#sequence;
  }

  /**
   * Records that the write or PING with number `sequence` has left the session. All earlier ones have then left it too.
   */
  passed(sequence: number): void {
    releaseUntil(this.#pending, sequence);
  }

  /** Calls `release` when all writes and PINGs that have entered the session so far have left it. */
  hold(release: () => void): void {
    if (this.#isClosed) {
      release();
      return;
    }
    this.#pending.push({ sequence: this.enter(), release });
    this.#ping();
  }

  /** Calls `release` when the client has received everything that has entered the session so far: it has answered a PING. */
  afterAnswer(release: () => void): void {
    if (this.#isClosed) {
      release();
      return;
    }
    this.#unanswered.push({ sequence: this.enter(), release });
    this.#ping();
  }

  #ping(): void {
    if (this.#isPinging || this.#session.destroyed) return;
    const sequence = this.enter();
    this.#isPinging = this.#session.ping((error) => {
      this.#isPinging = false;
      // No PING is possible: the session is closing, which releases the rest, or too many PINGs of the host are unanswered,
      // and a later write or call releases the rest.
      if (error) return;
      this.passed(sequence);
      releaseUntil(this.#unanswered, sequence);
      if (this.#pending.length + this.#unanswered.length > 0) this.#ping();
    });
  }
}

/** Calls and removes the entries before `sequence`. */
function releaseUntil(queue: PendingRelease[], sequence: number): void {
  while (queue[0] !== undefined && queue[0].sequence < sequence) queue.shift()?.release();
}
