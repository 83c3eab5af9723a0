import http from 'node:http';
import { getRequestListener } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import type { ExecutionContext } from 'ava';
import connect from 'connect';
import express from 'express';
import express4 from 'express4';
import fastify from 'fastify';
import { Hono } from 'hono';
import Koa from 'koa';
import Koa2 from 'koa2';
import * as onExpress from '../../src/adapters/express.js';
import * as onFastify from '../../src/adapters/fastify.js';
import * as onHono from '../../src/adapters/hono.js';
import * as onKoa from '../../src/adapters/koa.js';
import type { NodeRequest, NodeResponse } from '../../src/adapters/node.js';
import * as onNode from '../../src/adapters/node.js';
import type { Artifact } from '../../src/contract/artifact.js';
import { SendError } from '../../src/contract/send-error.js';
import type { SenderOptions } from '../../src/handler/options.js';
import type { HandlerStats } from '../../src/handler/stats.js';
import { type Request, type Response, request } from './client.js';
import { type Listener, type Middleware, noMiddleware, runMiddleware } from './mounts.js';
import { KINDS, type Kind, type RunningServer, startListener } from './servers.js';

/** One kind of server for each framework and each HTTP version that it supports. */
export const ROUTE_KINDS = [
  'http',
  'h2-compat',
  'connect-http',
  'connect-h2',
  'express-http',
  'express4-http',
  'koa-http',
  'koa-h2',
  'koa2-http',
  'fastify-http',
  'fastify-h2',
  'hono-http',
  'hono-h2',
] as const satisfies readonly Kind[];

/** A route that sends the artifact returned by `artifactOf`. */
export interface Route {
  artifactOf(url: string): Artifact;
  readonly sender?: SenderOptions | undefined;
  /** Headers that the route sets with its framework before it sends the artifact. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Status that the route sets with its framework before it sends the artifact. */
  readonly status?: number | undefined;
  /** Middleware before the route. */
  readonly before?: Middleware | undefined;
  /** Called in the route before it sends the artifact. */
  readonly inRoute?: ((request: NodeRequest, response: NodeResponse) => unknown) | undefined;
  /** Whether the route calls `trySend` again when the first call has ended. */
  readonly again?: boolean | undefined;
  /** Called in the route after `trySend` has returned its promise. */
  readonly meanwhile?: ((response: NodeResponse) => void) | undefined;
}

/** Response body of the host for a miss. */
export const MISS_BODY = 'not found by the host';

/** A running host with a route, and the outcomes of its `trySend` calls. */
export interface RouteSite {
  readonly server: RunningServer;
  /** Whether `trySend` sent a response, or the error that it rejected with. */
  readonly outcomes: unknown[];
  stats(): HandlerStats;
  ask(path: string, rest?: Omit<Request, 'path'>): Promise<Response>;
}

/** Starts a host whose route handles every path. */
export async function openRoute(t: ExecutionContext, kind: Kind, route: Route): Promise<RouteSite> {
  const hosts = { express, express4, koa: Koa, koa2: Koa2 };
  const { host } = KINDS[kind];
  switch (host) {
    case 'node':
      return start(t, kind, route, onNode.createSender(route.sender), bareRoute);
    case 'connect':
      return start(t, kind, route, onNode.createSender(route.sender), connectRoute);
    case 'express':
    case 'express4':
      return start(t, kind, route, onExpress.createSender(route.sender), expressRoute(hosts[host]()));
    case 'koa':
    case 'koa2':
      return start(t, kind, route, onKoa.createSender(route.sender), koaRoute(new hosts[host]()));
    case 'fastify':
      return start(t, kind, route, onFastify.createSender(route.sender), fastifyRoute);
    case 'hono':
      return start(t, kind, route, onHono.createSender(route.sender), honoRoute);
    default:
      throw new Error(`${kind} has no routes`);
  }
}

interface Sending {
  readonly send: (...parameters: never[]) => Promise<unknown>;
  stats(): HandlerStats;
  close(): void;
}

/** Calls `send` and records its outcome. */
type Watch = <Sent>(response: NodeResponse, send: () => Promise<Sent>) => Promise<Sent>;

type MakeListener<Sender> = (route: Route, sender: Sender, watch: Watch) => Listener | Promise<Listener>;

async function start<Sender extends Sending>(
  t: ExecutionContext,
  kind: Kind,
  route: Route,
  sender: Sender,
  makeListener: MakeListener<Sender>,
): Promise<RouteSite> {
  t.teardown(() => sender.close());
  const outcomes: unknown[] = [];
  const watch: Watch = async (response, send) => {
    try {
      const sending = send();
      route.meanwhile?.(response);
      const sent = await sending;
      outcomes.push(sent !== false);
      if (route.again) await send().catch((error: unknown) => outcomes.push(error));
      return sent;
    } catch (error) {
      outcomes.push(error);
      throw error;
    }
  };
  const server = await startListener(t, kind, await makeListener(route, sender, watch));
  return {
    server,
    outcomes,
    stats: () => sender.stats(),
    ask: (path, rest) => request(server, { path, ...rest }),
  };
}

function setOn(response: NodeResponse, { headers = {}, status }: Route): void {
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  if (status !== undefined) response.statusCode = status;
}

function statusOf(error: unknown): number {
  return error instanceof SendError ? error.status : 500;
}

function bareRoute(route: Route, hot: onNode.NodeSender, watch: Watch): Listener {
  const answer = async (request: NodeRequest, response: NodeResponse): Promise<void> => {
    await route.inRoute?.(request, response);
    setOn(response, route);
    try {
      const found = await watch(response, () => hot.trySend(request, response, route.artifactOf(request.url ?? '')));
      if (found) return;
      response.statusCode = 404;
      response.end(MISS_BODY);
    } catch (error) {
      if (response.headersSent) return;
      response.statusCode = statusOf(error);
      response.end();
    }
  };
  return (request, response) => (route.before ?? noMiddleware)(request, response, () => void answer(request, response));
}

function connectRoute(route: Route, hot: onNode.NodeSender, watch: Watch): Listener {
  const app = connect();
  app.use(route.before ?? noMiddleware);
  app.use(async (request, response, next) => {
    await route.inRoute?.(request, response);
    setOn(response, route);
    watch(response, () => hot.trySend(request, response, route.artifactOf(request.url ?? ''))).then(
      (found) => found || next(),
      next,
    );
  });
  app.use((_request, response) => {
    response.statusCode = 404;
    response.end(MISS_BODY);
  });
  // The types of Connect only accept node:http.
  return app as unknown as Listener;
}

function expressRoute(app: express.Express): MakeListener<onExpress.ExpressSender> {
  return (route, hot, watch) => {
    app.disable('x-powered-by').disable('etag');
    app.use(route.before ?? noMiddleware);
    // Express 4 does not handle rejected promises.
    app.use((request, response, next) => {
      const answer = async (): Promise<void> => {
        await route.inRoute?.(request, response);
        response.set(route.headers ?? {});
        if (route.status !== undefined) response.status(route.status);
        const found = await watch(response, () => hot.trySend(request, response, route.artifactOf(request.url)));
        if (!found) response.status(404).send(MISS_BODY);
      };
      answer().catch(next);
    });
    // The types of Express only accept node:http.
    return app as unknown as Listener;
  };
}

function koaRoute(app: Koa): MakeListener<onKoa.KoaSender> {
  return (route, hot, watch) => {
    app.silent = true;
    app.use((context, next) => runMiddleware(route.before ?? noMiddleware, context.req, context.res).then(next));
    app.use(async (context) => {
      await route.inRoute?.(context.req, context.res);
      context.set({ ...route.headers });
      if (route.status !== undefined) context.status = route.status;
      const found = await watch(context.res, () => hot.trySend(context, route.artifactOf(context.url)));
      if (found) return;
      context.status = 404;
      context.body = MISS_BODY;
    });
    return app.callback();
  };
}

async function fastifyRoute(route: Route, hot: onFastify.FastifySender, watch: Watch): Promise<Listener> {
  let listener: Listener | undefined;
  const app = fastify({
    serverFactory(listen) {
      // The types of Fastify depend on the kind of server.
      listener = listen as unknown as Listener;
      return http.createServer();
    },
  });
  app.addHook('onRequest', (request, reply, done) =>
    (route.before ?? noMiddleware)(request.raw, reply.raw, (error) => done(error as Error)),
  );
  app.setNotFoundHandler((_request, reply) => reply.code(404).send(MISS_BODY));
  app.all('/*', async (request, reply) => {
    await route.inRoute?.(request.raw, reply.raw);
    reply.headers({ ...route.headers });
    if (route.status !== undefined) reply.code(route.status);
    try {
      const found = await watch(reply.raw, () => hot.trySend(request, reply, route.artifactOf(request.url)));
      if (!found) return reply.callNotFound();
    } catch (error) {
      // Fastify does not know that the test has sent headers through reply.raw.
      if (!reply.raw.headersSent) throw error;
      reply.hijack();
    }
  });
  await app.ready();
  return (request, response) => listener?.(request, response);
}

function honoRoute(route: Route, hot: onHono.HonoSender, watch: Watch): Listener {
  const app = new Hono<{ Bindings: { incoming: NodeRequest; outgoing: NodeResponse } }>();
  app.use(({ env }, next) => runMiddleware(route.before ?? noMiddleware, env.incoming, env.outgoing).then(next));
  app.notFound((context) => context.text(MISS_BODY, 404));
  app.all('*', async (context) => {
    const { incoming, outgoing } = context.env;
    await route.inRoute?.(incoming, outgoing);
    for (const [name, value] of Object.entries(route.headers ?? {})) context.header(name, value);
    if (route.status !== undefined) context.status(route.status as 418);
    try {
      const sent = await watch(outgoing, () => hot.trySend(context, route.artifactOf(incoming.url ?? '')));
      return sent || context.notFound();
    } catch (error) {
      // Hono does not know that the test has sent headers through `outgoing`.
      if (!outgoing.headersSent) throw error;
      return RESPONSE_ALREADY_SENT;
    }
  });
  return getRequestListener(app.fetch);
}
