import type { Http2SecureServer, Http2Server, ServerHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';

const INTERVAL_MS = 1000;

/** Undocumented part of a socket: its libuv handle. */
interface HandleOwner {
  readonly _handle?: { readStart?(): number } | null;
}

/**
 * Makes Node continue to read from the socket of an HTTP/2 session. After a connection error (RFC 9113, section 5.4.1),
 * nghttp2 ignores the client, and Node stops reading (Node 20.20, 22.20 and 24.10, but not 22.23, 24.22 and 26.12).
 * Node then does not detect that the client closes the connection, and no event or property shows this state.
 *
 * The function also resumes reading if Node has paused it during a write. Memory stays bounded, because nghttp2 limits the
 * queued frames.
 */
export function resumeReading(socket: Socket): void {
  // read() and resume() have no effect, because the session has stopped the handle, not the stream.
  (socket as HandleOwner)._handle?.readStart?.();
}

/**
 * Makes a server of node:http2 detect that a client has closed its connection after a connection error. Without this
 * function, Node 20 keeps such a connection and its descriptor until the process ends. Call it once per server.
 * `createServer` of `hotblob/server` does not need it.
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
