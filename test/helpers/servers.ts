import { once } from 'node:events';
import http from 'node:http';
import http2, { type Http2Session } from 'node:http2';
import https from 'node:https';
import type { AddressInfo, Server, Socket } from 'node:net';
import type { ExecutionContext } from 'ava';
import { continueOnRead, streamListener } from '../../src/adapters/node.js';
import type { ExchangeHandler, Handler } from '../../src/handler/handler.js';
import { createServer } from '../../src/server/server.js';
import { afterHttp2Read } from '../../src/util/after-http2-read.js';
import { type Certificate, certificate } from './certificate.js';
import { type Framework, type Listener, type MountOptions, requestListener } from './mounts.js';

export { HOST_BODY, type Middleware } from './mounts.js';

/**
 * Abilities of most kinds of server. `map`: files are mapped. `close-connections`: the handler can close the connection after
 * its response. `keep-host-headers`: the host can set response headers before the handler responds.
 */
type Ability = 'map' | 'close-connections' | 'keep-host-headers';

interface Traits {
  /** Framework or kind of listener that the handler is mounted in. */
  readonly host: 'stream' | 'node' | 'front' | Framework;
  readonly tls: boolean;
  /** HTTP version that the client uses. */
  readonly version: 1 | 2;
  readonly create: 'http' | 'https' | 'h2c' | 'h2' | 'port';
  readonly lacks?: readonly Ability[];
}

/** The Fetch API has no sockets, and no response object before the handler returns one. */
const FETCH_LACKS = ['map', 'close-connections', 'keep-host-headers'] as const;

/** Every kind of server that the handler can be mounted into. */
export const KINDS = {
  http: { host: 'node', tls: false, version: 1, create: 'http' },
  https: { host: 'node', tls: true, version: 1, create: 'https' },
  h2c: { host: 'stream', tls: false, version: 2, create: 'h2c' },
  h2: { host: 'stream', tls: true, version: 2, create: 'h2' },
  'h2c-compat': { host: 'node', tls: false, version: 2, create: 'h2c' },
  'h2-compat': { host: 'node', tls: true, version: 2, create: 'h2' },
  /** HTTP/1.1 client of an HTTP/2 server (allowHTTP1). */
  'h2-compat-http1': { host: 'node', tls: true, version: 1, create: 'h2' },
  'koa-http': { host: 'koa', tls: false, version: 1, create: 'http' },
  'koa-https': { host: 'koa', tls: true, version: 1, create: 'https' },
  'koa-h2c': { host: 'koa', tls: false, version: 2, create: 'h2c' },
  'koa-h2': { host: 'koa', tls: true, version: 2, create: 'h2' },
  'express-http': { host: 'express', tls: false, version: 1, create: 'http' },
  'express-https': { host: 'express', tls: true, version: 1, create: 'https' },
  'koa2-http': { host: 'koa2', tls: false, version: 1, create: 'http' },
  'koa2-h2': { host: 'koa2', tls: true, version: 2, create: 'h2' },
  'express4-http': { host: 'express4', tls: false, version: 1, create: 'http' },
  'connect-http': { host: 'connect', tls: false, version: 1, create: 'http' },
  'connect-h2': { host: 'connect', tls: true, version: 2, create: 'h2' },
  'fastify-http': { host: 'fastify', tls: false, version: 1, create: 'http' },
  'fastify-https': { host: 'fastify', tls: true, version: 1, create: 'https' },
  'fastify-h2c': { host: 'fastify', tls: false, version: 2, create: 'h2c' },
  'fastify-h2': { host: 'fastify', tls: true, version: 2, create: 'h2' },
  'hono-http': { host: 'hono', tls: false, version: 1, create: 'http' },
  'hono-https': { host: 'hono', tls: true, version: 1, create: 'https' },
  'hono-h2c': { host: 'hono', tls: false, version: 2, create: 'h2c' },
  'hono-h2': { host: 'hono', tls: true, version: 2, create: 'h2' },
  'fetch-http': { host: 'fetch', tls: false, version: 1, create: 'http', lacks: FETCH_LACKS },
  /** `hotblob/server`, which accepts both HTTP versions: with a handler, a listener, or a handler in front of a listener. */
  'port-http': { host: 'stream', tls: false, version: 1, create: 'port' },
  'port-h2c': { host: 'stream', tls: false, version: 2, create: 'port' },
  'port-https': { host: 'stream', tls: true, version: 1, create: 'port' },
  'port-h2': { host: 'stream', tls: true, version: 2, create: 'port' },
  'port-node-http': { host: 'node', tls: false, version: 1, create: 'port' },
  'port-node-h2c': { host: 'node', tls: false, version: 2, create: 'port' },
  'port-node-https': { host: 'node', tls: true, version: 1, create: 'port' },
  'port-node-h2': { host: 'node', tls: true, version: 2, create: 'port' },
  'port-koa-http': { host: 'koa', tls: false, version: 1, create: 'port' },
  'port-koa-h2c': { host: 'koa', tls: false, version: 2, create: 'port' },
  'port-koa-https': { host: 'koa', tls: true, version: 1, create: 'port' },
  'port-koa-h2': { host: 'koa', tls: true, version: 2, create: 'port' },
  'port-express-http': { host: 'express', tls: false, version: 1, create: 'port' },
  'port-express-https': { host: 'express', tls: true, version: 1, create: 'port' },
  'port-front-http': { host: 'front', tls: false, version: 1, create: 'port' },
  'port-front-h2c': { host: 'front', tls: false, version: 2, create: 'port' },
  'port-front-https': { host: 'front', tls: true, version: 1, create: 'port' },
  'port-front-h2': { host: 'front', tls: true, version: 2, create: 'port' },
} as const satisfies Record<string, Traits>;

export type Kind = keyof typeof KINDS;

/** Returns whether servers of a kind have an ability. */
export function can(kind: Kind, ability: Ability): boolean {
  const { lacks = [] }: Traits = KINDS[kind];
  return !lacks.includes(ability);
}

export const ALL_KINDS = Object.keys(KINDS) as readonly Kind[];

export type ServerOptions = MountOptions;

export interface RunningServer extends Traits {
  readonly kind: Kind;
  readonly port: number;
  readonly certificate: Certificate | undefined;
}

/** Handler that may have a `close` method. */
type ClosableHandler = ExchangeHandler & Partial<Pick<Handler, 'close'>>;

/** Starts a server on a free port of 127.0.0.1. After the test, the server, its connections and the handler are closed. */
export async function startServer(
  t: ExecutionContext,
  kind: Kind,
  handler: ClosableHandler,
  options: ServerOptions = {},
): Promise<RunningServer> {
  const { server, close } = await openServer(kind, handler, options);
  t.teardown(async () => {
    await close();
    handler.close?.();
  });
  return server;
}

/** Starts a server on a free port of 127.0.0.1. The caller closes the server and the handler. */
export async function openServer(
  kind: Kind,
  handler: ExchangeHandler,
  options: ServerOptions = {},
): Promise<{ server: RunningServer; close(): Promise<void> }> {
  const traits: Traits = KINDS[kind];
  const tls = traits.tls ? await certificate() : undefined;
  const { address, close } = await (traits.create === 'port' ? startHotblobServer : startNodeServer)(
    traits,
    tls,
    handler,
    options,
  );
  return { server: { ...traits, kind, port: address.port, certificate: tls }, close };
}

/** Starts a Node server with a request listener. Closed after the test. */
export async function startListener(t: ExecutionContext, kind: Kind, listener: Listener): Promise<RunningServer> {
  const traits: Traits = KINDS[kind];
  const tls = traits.tls ? await certificate() : undefined;
  const { address, close } = await listen(create(traits, tls).on('request', listener));
  t.teardown(close);
  return { ...traits, kind, port: address.port, certificate: tls };
}

interface Listening {
  readonly address: AddressInfo;
  close(): Promise<void>;
}

async function startNodeServer(
  traits: Traits,
  tls: Certificate | undefined,
  handler: ExchangeHandler,
  options: ServerOptions,
): Promise<Listening> {
  const server = create(traits, tls);
  if (traits.host === 'stream') server.on('stream', streamListener(handler));
  else server.on('request', await requestListener(traits.host, handler, options));
  if (options.continueOnRead) server.on('checkContinue', continueOnRead);
  return listen(server);
}

async function listen(server: Server): Promise<Listening> {
  const close = closer(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // A server that listens on a port has an AddressInfo.
  return { address: server.address() as AddressInfo, close };
}

async function startHotblobServer(
  { host }: Traits,
  tls: Certificate | undefined,
  handler: ExchangeHandler,
  options: ServerOptions,
): Promise<Listening> {
  const server = createServer(host === 'stream' ? handler : await requestListener(host, handler, options), {
    tls,
    handler: host === 'front' ? handler : undefined,
  });
  await server.listen({ port: 0, host: '127.0.0.1' });
  // A server that listens on a port has an AddressInfo.
  return { address: server.address() as AddressInfo, close: () => server.close({ timeoutMs: 0 }) };
}

function create({ create: kind }: Traits, tls: Certificate | undefined): Server {
  // Without a keep-alive timeout, idle connections stay open until the end of the test.
  if (kind === 'http') return http.createServer({ keepAliveTimeout: 0 });
  if (kind === 'https') return https.createServer({ ...tls, keepAliveTimeout: 0 });
  if (kind === 'h2c') return http2.createServer();
  return http2.createSecureServer({ ...tls, allowHTTP1: true });
}

/** Tracks the connections of a server. Returns a function that closes the server and destroys them. */
function closer(server: Server): () => Promise<void> {
  const open = new Set<Socket | Http2Session>();
  const keep = (connection: Socket | Http2Session): void => {
    open.add(connection);
    connection.on('error', () => {}).on('close', () => open.delete(connection));
  };
  server.on('connection', keep).on('secureConnection', keep).on('session', keep);
  server.on('tlsClientError', () => {});
  return async () => {
    const closed = once(server, 'close');
    server.close();
    for (const connection of open) afterHttp2Read(() => connection.destroy());
    await closed;
  };
}
