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

/** Connect-style middleware that runs before the handler. */
export type Middleware = (request: NodeRequest, response: NodeResponse, next: (error?: unknown) => void) => void;

export interface MountOptions {
  /** Path where a framework mounts the handler. Without a framework, tests use the option `mountPath` of the handler. */
  readonly mount?: string | undefined;
  /** Middleware before the handler. Ignored if the host is `stream` or `front`. */
  readonly before?: Middleware | undefined;
  /** Whether a server of Node has the 'checkContinue' listener of the package. `createServer` of the package always has it. */
  readonly continueOnRead?: boolean | undefined;
  /** Whether the host responds with {@link HOST_BODY} to requests that the handler passes on. Ignored if the host is `stream`. */
  readonly answers?: boolean | undefined;
}

export const HOST_BODY = 'the host has answered';

export type Listener = (request: NodeRequest, response: NodeResponse) => void;

/**
 * Returns the request listener of a host with the handler mounted. Frameworks are imported on demand, because loading all of
 * them takes a second and hundreds of descriptors.
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
      // The server calls the handler before this listener.
      return bareListener({ handle: async () => false }, options);
  }
}

function bareListener(handler: ExchangeHandler, { before = noMiddleware, answers }: MountOptions): Listener {
  const listener = nodeListener(handler);
  return (request, response) =>
    before(request, response, () => {
      listener(request, response, answers ? () => void response.end(HOST_BODY) : undefined);
    });
}

async function koaListener(
  app: Koa,
  handler: ExchangeHandler,
  { mount, before = noMiddleware, answers }: MountOptions,
): Promise<Listener> {
  const { default: koaMount } = await import('koa-mount');
  // Koa prints every error that it responds to.
  app.silent = true;
  app.use((context, next) => runMiddleware(before, context.req, context.res).then(next));
  app.use(mount === undefined ? koaMiddleware(handler) : koaMount(mount, koaMiddleware(handler)));
  app.use((context) => {
    if (answers) context.body = HOST_BODY;
  });
  return app.callback();
}

function expressListener(
  app: Express,
  handler: ExchangeHandler,
  { mount = '/', before = noMiddleware, answers }: MountOptions,
): Listener {
  app.disable('x-powered-by');
  app.use(before);
  app.use(mount, expressMiddleware(handler));
  if (answers) app.use((_request, response) => void response.end(HOST_BODY));
  // The types of Express only accept node:http.
  return app as unknown as Listener;
}

async function connectListener(
  handler: ExchangeHandler,
  { mount = '/', before = noMiddleware, answers }: MountOptions,
): Promise<Listener> {
  const { default: connect } = await import('connect');
  const app = connect();
  app.use(before);
  app.use(mount, nodeListener(handler));
  if (answers) app.use((_request, response) => void response.end(HOST_BODY));
  // The types of Connect only accept node:http.
  return app as unknown as Listener;
}

async function fastifyListener(
  handler: ExchangeHandler,
  { mount = '/', before = noMiddleware, answers }: MountOptions,
): Promise<Listener> {
  const { default: fastify } = await import('fastify');
  let listener: Listener | undefined;
  const app = fastify({
    serverFactory(listen) {
      // The types of Fastify depend on the kind of server.
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
  { mount = '/', before = noMiddleware, answers }: MountOptions,
): Promise<Listener> {
  const { getRequestListener } = await import('@hono/node-server');
  const { Hono } = await import('hono');
  const app = new Hono<{ Bindings: { incoming: NodeRequest; outgoing: NodeResponse } }>();
  app.use(({ env }, next) => runMiddleware(before, env.incoming, env.outgoing).then(next));
  app.use(mount === '/' ? '*' : `${mount}/*`, honoMiddleware(handler, { mountPath: mount }));
  if (answers) app.all('*', (context) => context.body(HOST_BODY));
  return getRequestListener(app.fetch);
}

function fetchListener(handler: ExchangeHandler, { mount, before = noMiddleware, answers }: MountOptions): Listener {
  const notFound = answers ? () => new Response(HOST_BODY) : undefined;
  const listener = fetchBridge(fetchHandler(handler, { mountPath: mount, notFound }));
  return (request, response) => before(request, response, () => listener(request, response));
}

/** Middleware that only calls `next`. */
export const noMiddleware: Middleware = (_request, _response, next) => next();

/** Runs Connect-style middleware. Resolves when it calls `next`, and rejects if it passes an error. */
export function runMiddleware(middleware: Middleware, request: NodeRequest, response: NodeResponse): Promise<void> {
  return new Promise((resolve, reject) => {
    middleware(request, response, (error) => (error === undefined ? resolve() : reject(error)));
  });
}
