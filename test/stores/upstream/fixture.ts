import { once } from 'node:events';
import http, { type Server as Http1Server } from 'node:http';
import http2, { type Http2SecureServer, type Http2Server, type ServerHttp2Session } from 'node:http2';
import https from 'node:https';
import type { AddressInfo, Server, Socket } from 'node:net';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import type { ExecutionContext } from 'ava';
import type { StreamArtifact } from '../../../src/contract/artifact.js';
import type { Store } from '../../../src/contract/store.js';
import { type UpstreamStore, type UpstreamStoreOptions, upstreamStore } from '../../../src/stores/upstream/store.js';
import { certificate } from '../../helpers/certificate.js';
import { never } from '../fixture.js';

/** Protocols of a test upstream. Over TLS, `https` negotiates HTTP/1.1 and `h2` negotiates HTTP/2. */
export const WIRES = ['http', 'https', 'h2c', 'h2'] as const;
export type Wire = (typeof WIRES)[number];
export const isHttp2 = (wire: Wire): boolean => wire === 'h2c' || wire === 'h2';

type Request = http.IncomingMessage | http2.Http2ServerRequest;
/** `Http2ServerResponse` implements the methods that the tests use. */
type Response = http.ServerResponse;
export type Listener = (request: Request, response: Response) => void;

/** HTTP server that stands for another cache. */
export interface TestUpstream {
  readonly wire: Wire;
  readonly url: string;
  readonly port: number;
  /** `METHOD path` of each request. */
  readonly requests: string[];
  /** Accepted connections. */
  readonly connections: Socket[];
  readonly sessions: ServerHttp2Session[];
  /** Options that a store needs to reach the server. */
  readonly options: UpstreamStoreOptions;
}

/** Starts a server that passes every request to `listener`. It is closed when the test ends. */
export async function startUpstream(t: ExecutionContext, wire: Wire, listener: Listener): Promise<TestUpstream> {
  const tls = wire === 'https' || wire === 'h2' ? await certificate() : undefined;
  const server = create(wire, tls);
  const requests: string[] = [];
  const connections: Socket[] = [];
  const sessions: ServerHttp2Session[] = [];
  server.on('request', (request: Request, response: Response) => {
    requests.push(`${request.method} ${request.url}`);
    response.on('error', () => {});
    listener(request, response);
  });
  server.on('connection', (socket: Socket) => connections.push(socket.on('error', () => {})));
  server.on('session', (session: ServerHttp2Session) => sessions.push(session.on('error', () => {})));
  const port = await listen(t, server, connections);
  return {
    wire,
    url: `${tls ? 'https' : 'http'}://127.0.0.1:${port}/`,
    port,
    requests,
    connections,
    sessions,
    options: { ...(tls && { ca: tls.cert }), ...(wire === 'h2c' && { h2c: true }) },
  };
}

function create(wire: Wire, tls: { cert: string; key: string } | undefined): AnyServer {
  if (wire === 'http') return http.createServer({ keepAliveTimeout: 60_000 });
  if (wire === 'https') return https.createServer({ ...tls, keepAliveTimeout: 60_000 });
  return wire === 'h2c' ? http2.createServer() : http2.createSecureServer({ ...tls });
}

type AnyServer = Http1Server | Http2Server | Http2SecureServer;

/** Listens on a free port. Closes the server and the connections in `open` when the test ends. */
export async function listen(t: ExecutionContext, server: Server | AnyServer, open: Iterable<Socket>): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(async () => {
    const closed = once(server, 'close');
    server.close();
    for (const socket of open) socket.destroy();
    await closed;
  });
  // A server that listens on a port has an AddressInfo.
  return (server.address() as AddressInfo).port;
}

/** Creates a store for the upstream. It is closed when the test ends. */
export function storeOf(
  t: ExecutionContext,
  upstream: TestUpstream,
  options: UpstreamStoreOptions = {},
): UpstreamStore {
  const store = upstreamStore(upstream.url, { ...upstream.options, ...options });
  t.teardown(() => store.close());
  return store;
}

/** Returns the artifact under `key`. Throws for a miss. */
export async function lookUp(store: Store, key: string, signal = never()): Promise<StreamArtifact> {
  const artifact = await store.get(key, { signal });
  if (artifact?.kind !== 'stream') throw new Error(`expected a stream artifact, received ${artifact?.kind}`);
  return artifact;
}

/** Reads an artifact, or a range of it. */
export async function read(
  artifact: StreamArtifact,
  range?: { start: number; end: number },
  signal = never(),
): Promise<Buffer> {
  return buffer(await artifact.open(range, { signal }));
}

/** Returns a stream of `bytes` in chunks. */
export function streamOf(bytes: Uint8Array, chunkBytes = 16 * 1024): Readable {
  const chunks: Uint8Array[] = [];
  for (let start = 0; start < bytes.byteLength; start += chunkBytes) {
    chunks.push(bytes.subarray(start, start + chunkBytes));
  }
  return Readable.from(chunks);
}
