import { once } from 'node:events';
import type { Server, ServerResponse } from 'node:http';
import type { Http2SecureServer, Http2ServerResponse, ServerHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';

/** What is in flight at the end has this long to complete, in milliseconds. */
const DRAIN_MS = 30_000;

/**
 * Ends a server well: it listens on, so that its readiness can be asked for, until nothing is in flight; then it closes,
 * and what is still there after 30 s is cut off.
 */
export class Drain {
  isDraining = false;
  #inFlight = 0;
  #onIdle = () => {};
  readonly #sockets = new Set<Socket>();
  readonly #sessions = new Set<ServerHttp2Session>();

  /** Knows every connection from now on, and hears its errors: one without a listener ends the process. */
  watch(server: Server | Http2SecureServer): void {
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => {}).on('close', () => this.#sockets.delete(socket));
    });
    server.on('session', (session: ServerHttp2Session) => {
      this.#sessions.add(session);
      session.on('error', () => {}).on('close', () => this.#sessions.delete(session));
    });
  }

  /** Counts a request, and asks its client to come back on another connection when there is no future for this one. */
  begin(response: ServerResponse | Http2ServerResponse): void {
    this.#inFlight++;
    if (this.isDraining && !('stream' in response)) response.setHeader('connection', 'close');
  }

  end(): void {
    this.#inFlight--;
    if (this.#inFlight === 0) this.#onIdle();
  }

  async close(server: Server | Http2SecureServer): Promise<void> {
    this.isDraining = true;
    const deadline = setTimeout(() => {
      this.#onIdle();
      for (const session of this.#sessions) session.destroy();
      for (const socket of this.#sockets) socket.destroy();
    }, DRAIN_MS);
    if (this.#inFlight > 0) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
    }
    const closed = once(server, 'close');
    server.close();
    for (const session of this.#sessions) session.close();
    await closed;
    clearTimeout(deadline);
  }
}
