import http from 'node:http';
import type { Express } from 'express';
import type Koa from 'koa';
import { expressMiddleware } from '../../src/adapters/express.js';
import { fastifyPlugin } from '../../src/adapters/fastify.js';
import { fetchHandler } from '../../src/adapters/fetch.js';
import { honoMiddleware } from '../../src/adapters/hono.js';
import { koaMiddleware } from '../../src/adapters/koa.js';
import { type NodeRequest, type NodeResponse, nodeListener } from '../../src/adapters/node.js';
import type { ExchangeHandler } from '../../src/handler/handler.js';
import { fetchBridge } from './fetch-bridge.js';

export type Framework = 'koa' | 'koa2' | 'express' | 'express4' | 'connect' | 'fastify' | 'hono' | 'fetch';

/** Runs before the handler, in the manner of Connect. */
export type Middleware = (request: NodeRequest, response: NodeResponse, next: (error?: unknown) => void) => void;

export interface MountOptions {
  /** Where a framework mounts the handler. Bare Node has the handler's own option for that. */
  readonly mount?: string | undefined;
  /** Not for the kinds whose host is `stream` or `front`: those have no middleware. */
  readonly before?: Middleware | undefined;
  /** Whether the host answers what is left to it, with {@link HOST_BODY}. Not for those whose host is `stream`. */
  readonly answers?: boolean | undefined;
}

export const HOST_BODY = 'the host has answered';

export type Listener = (request: NodeRequest, response: NodeResponse) => void;

/**
 * A handler, mounted into what is to answer the requests of a server. Frameworks are loaded when they are asked for: all of
 * them take a second and hundreds of descriptors, and most tests need none.
 */
export async function requestListener(
  host: 'node' | 'front' | Framework,
  handler: ExchangeHandler,
  options: MountOptions,
): Promise<Listener> {
  switch (host) {
    case 'koa':
      return koaListener(new (await import('koa')).default(), handler, options);
    case 'koa2':
      return koaListener(new (await import('koa2')).default(), handler, options);
    case 'express':
      return expressListener((await import('express')).default(), handler, options);
    case 'express4':
      return expressListener((await import('express4')).default(), handler, options);
    case 'connect':
      return connectListener(handler, options);
    case 'fastify':
      return fastifyListener(handler, options);
    case 'hono':
      return honoListener(handler, options);
    case 'fetch':
      return fetchListener(handler, options);
    case 'node':
      return bareListener(handler, options);
    case 'front':
      // Behind a handler nothing of it is left to do.
      return bareListener({ handle: async () => false }, options);
  }
}

function bareListener(handler: ExchangeHandler, { before = passOn, answers }: MountOptions): Listener {
  const listener = nodeListener(handler);
  return (request, response) =>
    before(request, response, () => {
      listener(request, response, answers ? () => void response.end(HOST_BODY) : undefined);
    });
}

async function koaListener(
  app: Koa,
  handler: ExchangeHandler,
  { mount, before = passOn, answers }: MountOptions,
): Promise<Listener> {
  const { default: koaMount } = await import('koa-mount');
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
  app: Express,
  handler: ExchangeHandler,
  { mount = '/', before = passOn, answers }: MountOptions,
): Listener {
  app.disable('x-powered-by');
  app.use(before);
  app.use(mount, expressMiddleware(handler));
  if (answers) app.use((_request, response) => void response.end(HOST_BODY));
  // Express 4 and 5 do not run on node:http2
  return app as unknown as Listener;
}

async function connectListener(
  handler: ExchangeHandler,
  { mount = '/', before = passOn, answers }: MountOptions,
): Promise<Listener> {
  const { default: connect } = await import('connect');
  const app = connect();
  app.use(before);
  app.use(mount, nodeListener(handler));
  if (answers) app.use((_request, response) => void response.end(HOST_BODY));
  // its types know node:http only
  return app as unknown as Listener;
}

async function fastifyListener(
  handler: ExchangeHandler,
  { mount = '/', before = passOn, answers }: MountOptions,
): Promise<Listener> {
  const { default: fastify } = await import('fastify');
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

async function honoListener(
  handler: ExchangeHandler,
  { mount = '/', before = passOn, answers }: MountOptions,
): Promise<Listener> {
  const { getRequestListener } = await import('@hono/node-server');
  const { Hono } = await import('hono');
  const app = new Hono<{ Bindings: { incoming: NodeRequest; outgoing: NodeResponse } }>();
  app.use(({ env }, next) => promised(before, env.incoming, env.outgoing).then(next));
  app.use(mount === '/' ? '*' : `${mount}/*`, honoMiddleware(handler, { mountPath: mount }));
  if (answers) app.all('*', (context) => context.body(HOST_BODY));
  return getRequestListener(app.fetch);
}

function fetchListener(handler: ExchangeHandler, { mount, before = passOn, answers }: MountOptions): Listener {
  const notFound = answers ? () => new Response(HOST_BODY) : undefined;
  const listener = fetchBridge(fetchHandler(handler, { mountPath: mount, notFound }));
  return (request, response) => before(request, response, () => listener(request, response));
}

/** A middleware that does nothing. */
export const passOn: Middleware = (_request, _response, next) => next();

/** The end of a middleware as a promise. */
export function promised(middleware: Middleware, request: NodeRequest, response: NodeResponse): Promise<void> {
  return new Promise((resolve, reject) => {
    middleware(request, response, (error) => (error === undefined ? resolve() : reject(error)));
  });
}
