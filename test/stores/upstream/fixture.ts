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

/** What a peer may speak. Over TLS `https` agrees on HTTP/1.1, `h2` on HTTP/2. */
export const WIRES = ['http', 'https', 'h2c', 'h2'] as const;
export type Wire = (typeof WIRES)[number];
export const isHttp2 = (wire: Wire): boolean => wire === 'h2c' || wire === 'h2';

type Request = http.IncomingMessage | http2.Http2ServerRequest;
/** What the responses of both protocols have in common. */
type Response = http.ServerResponse;
export type Listener = (request: Request, response: Response) => void;

/** Another cache that answers as a test says. */
export interface Peer {
  readonly wire: Wire;
  readonly url: string;
  readonly port: number;
  /** `METHOD path` of each request. */
  readonly requests: string[];
  /** How many connections have been accepted. */
  readonly connections: Socket[];
  readonly sessions: ServerHttp2Session[];
  /** What a client must say to reach it. */
  readonly options: UpstreamStoreOptions;
}

export async function startPeer(t: ExecutionContext, wire: Wire, listener: Listener): Promise<Peer> {
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

/** Listens on a free port, until the test is over. */
export async function listen(t: ExecutionContext, server: Server | AnyServer, open: Iterable<Socket>): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(async () => {
    const closed = once(server, 'close');
    server.close();
    for (const socket of open) socket.destroy();
    await closed;
  });
  // a server that listens on a port has an address of this kind
  return (server.address() as AddressInfo).port;
}

/** A store of that peer, closed with the test. */
export function storeOf(t: ExecutionContext, peer: Peer, options: UpstreamStoreOptions = {}): UpstreamStore {
  const store = upstreamStore(peer.url, { ...peer.options, ...options });
  t.teardown(() => store.close());
  return store;
}

/** The artifact under `key`; fails where it is a miss. */
export async function found(store: Store, key: string, signal = never()): Promise<StreamArtifact> {
  const artifact = await store.get(key, { signal });
  if (artifact?.kind !== 'stream') throw new Error(`expected an artifact that is a stream, received ${artifact?.kind}`);
  return artifact;
}

/** All bytes of an artifact, or of a part of it. */
export async function read(
  artifact: StreamArtifact,
  range?: { start: number; end: number },
  signal = never(),
): Promise<Buffer> {
  return buffer(await artifact.open(range, { signal }));
}

/** A body of `bytes`, in chunks. */
export function chunked(bytes: Uint8Array, size = 16 * 1024): Readable {
  const chunks: Uint8Array[] = [];
  for (let start = 0; start < bytes.byteLength; start += size) chunks.push(bytes.subarray(start, start + size));
  return Readable.from(chunks);
}
