import { Unanswered } from './errors.js';
import type { Http2Session } from './http2-session.js';
import type { UpstreamRequest } from './request.js';
import type { UpstreamResponse } from './response.js';

/**
 * HTTP/2 on one session: made when it is first needed, shared by all requests, and made anew when it has ended, is on its
 * way out, or answers no more. The old one completes what it has.
 */
export class Http2Sessions {
  readonly #open: () => Promise<Http2Session | undefined>;
  readonly #sessions = new Set<Http2Session>();
  #current: Promise<Http2Session | undefined> | undefined;

  /** `open` makes a session; undefined where the peer does not speak HTTP/2, and then it is not asked again. */
  constructor(open: () => Promise<Http2Session | undefined>) {
    this.#open = open;
  }

  /** As `send` of a transport; undefined where the peer does not speak HTTP/2. */
  async send(request: UpstreamRequest): Promise<UpstreamResponse | undefined> {
    const session = await unlessAborted(this.#session(), request.signal);
    if (session === undefined) return undefined;
    try {
      return await session.send(request);
    } catch (error) {
      // Sent again, it takes another session: this one has refused it, or ends.
      if (error instanceof Unanswered) session.retire();
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.#current?.catch(() => {}); // those who have asked for it know
    const sessions = [...this.#sessions];
    for (const session of sessions) session.destroy();
    await Promise.all(sessions.map((session) => session.closed));
  }

  async #session(): Promise<Http2Session | undefined> {
    const known = this.#current;
    if (known !== undefined) {
      const session = await known;
      if (session === undefined || (await session.verify())) return session;
      if (this.#current === known) this.#current = undefined;
    }
    this.#current ??= this.#begin();
    return this.#current;
  }

  #begin(): Promise<Http2Session | undefined> {
    const opening = this.#open();
    opening.then(
      (session) => {
        if (session === undefined) return;
        this.#sessions.add(session);
        void session.closed.then(() => this.#sessions.delete(session));
      },
      () => {
        if (this.#current === opening) this.#current = undefined;
      },
    );
    return opening;
  }
}

/** The promise, or the reason of the signal: a request that is given up need not wait for a connection that others use. */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort);
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
