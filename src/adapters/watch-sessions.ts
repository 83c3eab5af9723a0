import type { Http2SecureServer, Http2Server, ServerHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';

const INTERVAL_MS = 1000;

/** Part of a socket that is not documented: libuv's handle. */
interface HandleOwner {
  readonly _handle?: { readStart?(): number } | null;
}

/**
 * Makes Node read from the socket of an HTTP/2 session, if it has stopped. After a connection error (RFC 9113, section 5.4.1),
 * nghttp2 ignores the client, and Node stops reading (20.20, 22.20, 24.10; no longer in 22.23, 24.22 and 26.12). It then does not see
 * that the client closes the connection, and no event or property tells it. If Node
 * has stopped because a write is in flight, the limits of nghttp2 on queued frames still apply.
 */
export function resumeReading(socket: Socket): void {
  // read() and resume() do nothing: the session, not the stream, has stopped the handle.
  (socket as HandleOwner)._handle?.readStart?.();
}

/**
 * Makes a server of node:http2 notice that clients have closed their connections after a connection error. Without it, Node 20 keeps
 * such a connection, and its descriptor, until the process ends. Call it once per server. `createServer` of `hotblob/server` does not need it.
 */
export function watchSessions(server: Http2Server | Http2SecureServer): void {
  const sessions = new Set<ServerHttp2Session>();
  let timer: NodeJS.Timeout | undefined;
  server.on('session', (session) => {
    sessions.add(session);
    timer ??= setInterval(() => {
      for (const { destroyed, socket } of sessions) if (!destroyed) resumeReading(socket);
    }, INTERVAL_MS).unref();
    session.on('close', () => {
      sessions.delete(session);
      if (sessions.size > 0) return;
      clearInterval(timer);
      timer = undefined;
    });
  });
}
