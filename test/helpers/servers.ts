import { once } from 'node:events';
import http from 'node:http';
import http2, { type Http2Session } from 'node:http2';
import https from 'node:https';
import type { AddressInfo, Server, Socket } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import type { ExecutionContext } from 'ava';
import connect from 'connect';
import express from 'express';
import express4 from 'express4';
import fastify from 'fastify';
import { Hono } from 'hono';
import Koa from 'koa';
import koaMount from 'koa-mount';
import Koa2 from 'koa2';
import { expressMiddleware } from '../../src/adapters/express.js';
import { fastifyPlugin } from '../../src/adapters/fastify.js';
import { honoMiddleware } from '../../src/adapters/hono.js';
import { koaMiddleware } from '../../src/adapters/koa.js';
import { type NodeRequest, type NodeResponse, nodeListener, streamListener } from '../../src/adapters/node.js';
import type { ExchangeHandler, Handler } from '../../src/handler.js';
import { createServer } from '../../src/server/server.js';
import { type Certificate, certificate } from './certificate.js';

export type Framework = 'koa' | 'koa2' | 'express' | 'express4' | 'connect' | 'fastify' | 'hono';

interface Traits {
  /** What the handler is mounted into. */
  readonly host: 'stream' | 'node' | 'front' | Framework;
  readonly tls: boolean;
  /** What the client speaks. */
  readonly version: 1 | 2;
  readonly create: 'http' | 'https' | 'h2c' | 'h2' | 'port';
}

/** Every kind of server that the handler can be mounted into. */
export const KINDS = {
  http: { host: 'node', tls: false, version: 1, create: 'http' },
  https: { host: 'node', tls: true, version: 1, create: 'https' },
  h2c: { host: 'stream', tls: false, version: 2, create: 'h2c' },
  h2: { host: 'stream', tls: true, version: 2, create: 'h2' },
  'h2c-compat': { host: 'node', tls: false, version: 2, create: 'h2c' },
  'h2-compat': { host: 'node', tls: true, version: 2, create: 'h2' },
  /** HTTP/1.1 on the port of HTTP/2. */
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
  /** Our own server, which speaks both versions on each port: with a handler, any listener, or a handler in front of one. */
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

export const ALL_KINDS = Object.keys(KINDS) as readonly Kind[];

/** Runs before the handler, in the manner of Connect. */
export type Middleware = (request: NodeRequest, response: NodeResponse, next: (error?: unknown) => void) => void;

export interface ServerOptions {
  /** Where a framework mounts the handler. Bare Node has the handler's own option for that. */
  readonly mount?: string | undefined;
  /** Not for the kinds whose host is `stream` or `front`: those have no middleware. */
  readonly before?: Middleware | undefined;
  /** Whether the host answers what is left to it, with {@link HOST_BODY}. Not for those whose host is `stream`. */
  readonly answers?: boolean | undefined;
}

export const HOST_BODY = 'the host has answered';

export interface RunningServer extends Traits {
  readonly kind: Kind;
  readonly port: number;
  readonly certificate: Certificate | undefined;
}

/** A server on a free port of 127.0.0.1; it and the handler are closed, connections and all, when the test is over. */
export async function startServer(
  t: ExecutionContext,
  kind: Kind,
  handler: Handler,
  options: ServerOptions = {},
): Promise<RunningServer> {
  const traits: Traits = KINDS[kind];
  const tls = traits.tls ? await certificate() : undefined;
  const { address, close } = await (traits.create === 'port' ? ours : nodes)(traits, tls, handler, options);
  t.teardown(async () => {
    await close();
    handler.close();
  });
  return { ...traits, kind, port: address.port, certificate: tls };
}

interface Listening {
  readonly address: AddressInfo;
  close(): Promise<void>;
}

async function nodes(
  traits: Traits,
  tls: Certificate | undefined,
  handler: Handler,
  options: ServerOptions,
): Promise<Listening> {
  const server = create(traits, tls);
  if (traits.host === 'stream') server.on('stream', streamListener(handler));
  else server.on('request', await requestListener(traits.host, handler, options));
  const close = closer(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // a server that listens on a port has an address of this kind
  return { address: server.address() as AddressInfo, close };
}

async function ours(
  { host }: Traits,
  tls: Certificate | undefined,
  handler: Handler,
  options: ServerOptions,
): Promise<Listening> {
  const server = createServer(host === 'stream' ? handler : await requestListener(host, handler, options), {
    tls,
    handler: host === 'front' ? handler : undefined,
  });
  await server.listen({ port: 0, host: '127.0.0.1' });
  // as above
  return { address: server.address() as AddressInfo, close: () => server.close({ timeoutMs: 0 }) };
}

function create({ create: kind }: Traits, tls: Certificate | undefined): Server {
  // An idle connection is closed by the end of the test and by nothing else.
  if (kind === 'http') return http.createServer({ keepAliveTimeout: 0 });
  if (kind === 'https') return https.createServer({ ...tls, keepAliveTimeout: 0 });
  if (kind === 'h2c') return http2.createServer();
  return http2.createSecureServer({ ...tls, allowHTTP1: true });
}

type Listener = (request: NodeRequest, response: NodeResponse) => void;

async function requestListener(
  host: Exclude<Traits['host'], 'stream'>,
  handler: Handler,
  options: ServerOptions,
): Promise<Listener> {
  switch (host) {
    case 'koa':
      return koaListener(new Koa(), handler, options);
    case 'koa2':
      return koaListener(new Koa2(), handler, options);
    case 'express':
      return expressListener(express(), handler, options);
    case 'express4':
      return expressListener(express4(), handler, options);
    case 'connect':
      return connectListener(handler, options);
    case 'fastify':
      return fastifyListener(handler, options);
    case 'hono':
      return honoListener(handler, options);
    case 'node':
      return bareListener(handler, options);
    case 'front':
      // Behind a handler nothing of it is left to do.
      return bareListener({ handle: async () => false }, options);
  }
}

function bareListener(handler: ExchangeHandler, { before = passOn, answers }: ServerOptions): Listener {
  const listener = nodeListener(handler);
  return (request, response) =>
    before(request, response, () => {
      listener(request, response, answers ? () => void response.end(HOST_BODY) : undefined);
    });
}

function koaListener(app: Koa, handler: Handler, { mount, before = passOn, answers }: ServerOptions): Listener {
  // Koa prints what its clients see anyway.
  app.silent = true;
  app.use((context, next) => promised(before, context.req, context.res).then(next));
  app.use(mount === undefined ? koaMiddleware(handler) : koaMount(mount, koaMiddleware(handler)));
  app.use((context) => {
    if (answers) context.body = HOST_BODY;
  });
  return app.callback();
}

function expressListener(
  app: express.Express,
  handler: Handler,
  { mount = '/', before = passOn, answers }: ServerOptions,
): Listener {
  app.disable('x-powered-by');
  app.use(before);
  app.use(mount, expressMiddleware(handler));
  if (answers) app.use((_request, response) => void response.end(HOST_BODY));
  // Express 4 and 5 do not run on node:http2
  return app as unknown as Listener;
}

function connectListener(handler: Handler, { mount = '/', before = passOn, answers }: ServerOptions): Listener {
  const app = connect();
  app.use(before);
  app.use(mount, nodeListener(handler));
  if (answers) app.use((_request, response) => void response.end(HOST_BODY));
  // its types know node:http only
  return app as unknown as Listener;
}

async function fastifyListener(
  handler: Handler,
  { mount = '/', before = passOn, answers }: ServerOptions,
): Promise<Listener> {
  let listener: Listener | undefined;
  const app = fastify({
    serverFactory(listen) {
      // its types know one kind of server for each application
      listener = listen as unknown as Listener;
      return http.createServer();
    },
  });
  app.addHook('onRequest', (request, reply, done) => before(request.raw, reply.raw, (error) => done(error as Error)));
  if (answers) app.setNotFoundHandler((_request, reply) => reply.send(HOST_BODY));
  app.register(fastifyPlugin, { handler, prefix: mount });
  await app.ready();
  return (request, response) => listener?.(request, response);
}

function honoListener(handler: Handler, { mount = '/', before = passOn, answers }: ServerOptions): Listener {
  const app = new Hono<{ Bindings: { incoming: NodeRequest; outgoing: NodeResponse } }>();
  app.use(({ env }, next) => promised(before, env.incoming, env.outgoing).then(next));
  app.use(mount === '/' ? '*' : `${mount}/*`, honoMiddleware(handler, { mountPath: mount }));
  if (answers) app.all('*', (context) => context.body(HOST_BODY));
  return getRequestListener(app.fetch);
}

const passOn: Middleware = (_request, _response, next) => next();

function promised(middleware: Middleware, request: NodeRequest, response: NodeResponse): Promise<void> {
  return new Promise((resolve, reject) => {
    middleware(request, response, (error) => (error === undefined ? resolve() : reject(error)));
  });
}

/** Knows every connection of a server, and ends them with it. */
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
    for (const connection of open) connection.destroy();
    await closed;
  };
}
