import { ConnectionLostError } from './errors.js';
import type { Http2Session } from './http2-session.js';
import type { UpstreamRequest } from './request.js';
import type { UpstreamResponse } from './response.js';

/**
 * Transport for HTTP/2. All requests share one session. The session is opened by the first request. It is replaced when
 * it has ended, was drained by a GOAWAY, or does not answer a PING; requests in flight on the old session complete.
 */
export class Http2Transport {
  readonly #open: () => Promise<Http2Session | undefined>;
  readonly #sessions = new Set<Http2Session>();
  #current: Promise<Http2Session | undefined> | undefined;

  /**
   * @param open opens a session. Resolves to `undefined` if the upstream speaks only HTTP/1.1; `open` is then not
   *   called again
   */
  constructor(open: () => Promise<Http2Session | undefined>) {
    this.#open = open;
  }

  /** Sends a request, like `Transport.send`. Resolves to `undefined` if the upstream speaks only HTTP/1.1. */
  async send(request: UpstreamRequest): Promise<UpstreamResponse | undefined> {
    const session = await abortable(this.#session(), request.signal);
    if (session === undefined) return undefined;
    try {
      return await session.send(request);
    } catch (error) {
      // A retry needs another session: this one has refused the stream, or is ending.
      if (error instanceof ConnectionLostError) session.drain();
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.#current?.catch(() => {}); // reported to the requests that wait for the session
    const sessions = [...this.#sessions];
    for (const session of sessions) session.destroy();
    await Promise.all(sessions.map((session) => session.closed));
  }

  async #session(): Promise<Http2Session | undefined> {
    const current = this.#current;
    if (current !== undefined) {
      const session = await current;
      if (session === undefined || (await session.verify())) return session;
      if (this.#current === current) this.#current = undefined;
    }
    this.#current ??= this.#openSession();
    return this.#current;
  }

  #openSession(): Promise<Http2Session | undefined> {
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

/**
 * Settles like `promise`, but rejects with the signal's reason if the signal is aborted first. The connection attempt
 * continues, because other requests share it.
 */
function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort);
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
