import { once } from 'node:events';
import http2, { type ClientHttp2Session } from 'node:http2';
import net, { type AddressInfo, type Socket } from 'node:net';
import type { ExecutionContext } from 'ava';
import type { CacheServer } from '../../src/server/cache-server.js';
import type { ServerOptions } from '../../src/server/options.js';
import { createServer } from '../../src/server/server.js';
import { afterHttp2Read } from '../../src/util/after-http2-read.js';
import { certificate } from '../helpers/certificate.js';

/** Running server, and functions to connect to it. */
export interface Port {
  readonly server: CacheServer;
  readonly port: number;
  /** Connects a socket without TLS. It has an error listener. */
  connect(): Promise<Socket>;
  /** Opens an HTTP/2 session that has received the server's settings. It has an error listener. */
  session(options?: http2.ClientSessionOptions): Promise<ClientHttp2Session>;
}

/** Starts a server. The server and its connections are closed when the test ends. */
export async function openPort(
  t: ExecutionContext,
  listener: Parameters<typeof createServer>[0],
  { secure = false, ...options }: ServerOptions & { readonly secure?: boolean } = {},
): Promise<Port> {
  const tls = secure ? await certificate() : undefined;
  const server = createServer(listener, { tls, ...options });
  await server.listen({ port: 0, host: '127.0.0.1' });
  t.teardown(() => server.close({ timeoutMs: 0 }));
  // A server that listens on a port has an AddressInfo.
  const { port } = server.address() as AddressInfo;
  return {
    server,
    port,
    async connect() {
      const socket = net.connect(port, '127.0.0.1').on('error', () => {});
      t.teardown(() => socket.destroy());
      await once(socket, 'connect');
      return socket;
    },
    async session(sessionOptions) {
      const url = `${secure ? 'https' : 'http'}://127.0.0.1:${port}`;
      const session = http2.connect(url, { ca: tls?.cert, ...sessionOptions }).on('error', () => {});
      t.teardown(() => afterHttp2Read(() => session.destroy()));
      await once(session, 'remoteSettings');
      return session;
    },
  };
}

/** Resolves to all data that a socket receives until it is closed, as latin1. */
export async function untilClosed(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  if (!socket.destroyed) await once(socket, 'close', { signal: AbortSignal.timeout(60_000) });
  return Buffer.concat(chunks).toString('latin1');
}
