import { once } from 'node:events';
import http from 'node:http';
import http2, { type Http2Session } from 'node:http2';
import https from 'node:https';
import type { AddressInfo, Server, Socket } from 'node:net';
import type { ExecutionContext } from 'ava';
import express from 'express';
import Koa from 'koa';
import koaMount from 'koa-mount';
import { expressMiddleware } from '../../src/adapters/express.js';
import { koaMiddleware } from '../../src/adapters/koa.js';
import { type NodeRequest, type NodeResponse, nodeListener, streamListener } from '../../src/adapters/node.js';
import type { Handler } from '../../src/handler.js';
import { type Certificate, certificate } from './certificate.js';

interface Traits {
  /** What the handler is mounted into. */
  readonly host: 'stream' | 'node' | 'koa' | 'express';
  readonly tls: boolean;
  /** What the client speaks. */
  readonly version: 1 | 2;
  readonly create: 'http' | 'https' | 'h2c' | 'h2';
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
} as const satisfies Record<string, Traits>;

export type Kind = keyof typeof KINDS;

export const ALL_KINDS = Object.keys(KINDS) as readonly Kind[];

/** Runs before the handler, in the manner of Connect. */
export type Middleware = (request: NodeRequest, response: NodeResponse, next: (error?: unknown) => void) => void;

export interface ServerOptions {
  /** Where a framework mounts the handler. Bare Node has the handler's own option for that. */
  readonly mount?: string | undefined;
  /** Not for the kinds whose host is `stream`: those have no middleware. */
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
  const server = create(traits, tls);
  if (traits.host === 'stream') server.on('stream', streamListener(handler));
  else server.on('request', requestListener(traits.host, handler, options));
  const close = closer(server);
  t.teardown(async () => {
    await close();
    handler.close();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // a server that listens on a port has an address of this kind
  const { port } = server.address() as AddressInfo;
  return { ...traits, kind, port, certificate: tls };
}

function create({ create: kind }: Traits, tls: Certificate | undefined): Server {
  // An idle connection is closed by the end of the test and by nothing else.
  if (kind === 'http') return http.createServer({ keepAliveTimeout: 0 });
  if (kind === 'https') return https.createServer({ ...tls, keepAliveTimeout: 0 });
  if (kind === 'h2c') return http2.createServer();
  return http2.createSecureServer({ ...tls, allowHTTP1: true });
}

function requestListener(host: 'node' | 'koa' | 'express', handler: Handler, options: ServerOptions) {
  const { mount, before = (_request, _response, next) => next(), answers } = options;
  if (host === 'koa') {
    const app = new Koa();
    // Koa prints what its clients see anyway.
    app.silent = true;
    app.use((context, next) => promised(before, context.req, context.res).then(next));
    app.use(mount === undefined ? koaMiddleware(handler) : koaMount(mount, koaMiddleware(handler)));
    app.use((context) => {
      if (answers) context.body = HOST_BODY;
    });
    return app.callback();
  }
  if (host === 'express') {
    const app = express().disable('x-powered-by');
    app.use(before);
    app.use(mount ?? '/', expressMiddleware(handler));
    if (answers) app.use((_request, response) => void response.end(HOST_BODY));
    return app;
  }
  const listener = nodeListener(handler);
  return (request: NodeRequest, response: NodeResponse): void =>
    before(request, response, () => {
      listener(request, response, answers ? () => void response.end(HOST_BODY) : undefined);
    });
}

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
