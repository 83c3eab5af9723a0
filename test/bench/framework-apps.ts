// Servers of each framework that respond to `GET /<name>`: with the usual file sender of the framework, with hotblob, or with a
// Buffer.

import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import type { Server as NetServer } from 'node:net';
import { join } from 'node:path';
import fastifyStatic from '@fastify/static';
import { getRequestListener } from '@hono/node-server';
import { serveStatic } from '@hono/node-server/serve-static';
import connect from 'connect';
import express from 'express';
import fastify from 'fastify';
import { Hono } from 'hono';
import { fileArtifact, type HandlerStats } from 'hotblob';
import { createSender as createExpressSender } from 'hotblob/express';
import { createSender as createFastifySender } from 'hotblob/fastify';
import { createSender as createHonoSender } from 'hotblob/hono';
import { createSender as createKoaSender } from 'hotblob/koa';
import { createSender as createNodeSender } from 'hotblob/node';
import Koa from 'koa';
import koaSend from 'koa-send';
import sirv from 'sirv';
import type { InMemory } from './in-memory.js';

/** The file sender that the documentation of each framework recommends. */
export const USUAL_WAYS = {
  node: 'createReadStream().pipe',
  connect: 'sirv',
  express: 'res.sendFile',
  koa: 'koa-send',
  fastify: '@fastify/static',
  hono: 'serveStatic',
} as const;

export type Framework = keyof typeof USUAL_WAYS;
/** Method of sending: hotblob with `immutable` files, hotblob without, the usual way of the framework, or a Buffer. */
export type Way = 'hotblob' | 'hotblob mutable' | 'usual' | 'Buffer';

export interface AppOptions {
  readonly way: Way;
  /** Absolute path with symlinks resolved. */
  readonly directory: string;
  /** Artifacts by name, for `way: 'Buffer'`. */
  readonly inMemory: ReadonlyMap<string, InMemory>;
}

export interface App {
  readonly server: NetServer;
  /** Statistics of hotblob in this server. */
  readonly stats: (() => HandlerStats) | undefined;
}

/** Creates a server. The caller starts listening. */
export async function createApp(framework: Framework, options: AppOptions): Promise<App> {
  return APPS[framework](options);
}

const APPS: Readonly<Record<Framework, (options: AppOptions) => App | Promise<App>>> = {
  node: nodeApp,
  connect: connectApp,
  express: expressApp,
  koa: koaApp,
  fastify: fastifyApp,
  hono: honoApp,
};

/** Returns a function that creates the artifact for a name, as a route does. */
function artifactIn({ directory, way }: AppOptions): (name: string) => ReturnType<typeof fileArtifact> {
  return (name) => fileArtifact(name, { root: directory, immutable: way === 'hotblob' });
}

function nodeApp(options: AppOptions): App {
  const { way, directory, inMemory } = options;
  const hot = createNodeSender();
  const artifactOf = artifactIn(options);
  const server = createServer(async (request, response) => {
    const name = nameIn(request.url);
    if (way === 'Buffer') return sendBuffer(response, inMemory.get(name));
    if (way === 'usual') return pipe(join(directory, name), response);
    if (!(await hot.trySend(request, response, artifactOf(name)))) response.writeHead(404).end();
  });
  return { server, stats: hot.stats };
}

async function pipe(path: string, response: ServerResponse): Promise<void> {
  const { size, mtime } = await stat(path);
  response.writeHead(200, {
    'content-type': 'application/octet-stream',
    'content-length': size,
    'last-modified': mtime.toUTCString(),
  });
  createReadStream(path).pipe(response);
}

function connectApp(options: AppOptions): App {
  const { way, directory, inMemory } = options;
  const hot = createNodeSender();
  const artifactOf = artifactIn(options);
  const app = connect();
  if (way === 'usual') app.use(sirv(directory, { etag: true }));
  else if (way === 'Buffer') app.use((request, response) => sendBuffer(response, inMemory.get(nameIn(request.url))));
  else {
    app.use((request, response, next) => {
      hot.trySend(request, response, artifactOf(nameIn(request.url))).then((found) => found || next(), next);
    });
  }
  return { server: createServer(app), stats: hot.stats };
}

function expressApp(options: AppOptions): App {
  const { way, directory, inMemory } = options;
  const hot = createExpressSender();
  const artifactOf = artifactIn(options);
  const app = express();
  // Load generators stop in the middle of downloads, and Express logs an error for each of them.
  app.set('env', 'test');
  app.get('/:name', async (request, response) => {
    const { name } = request.params;
    if (way === 'usual') response.sendFile(name, { root: directory });
    else if (way === 'Buffer') {
      const { headers, bytes } = inMemory.get(name) ?? NOTHING;
      response.set(headers).send(bytes);
    } else if (!(await hot.trySend(request, response, artifactOf(name)))) response.sendStatus(404);
  });
  return { server: createServer(app), stats: hot.stats };
}

function koaApp(options: AppOptions): App {
  const { way, directory, inMemory } = options;
  const hot = createKoaSender();
  const artifactOf = artifactIn(options);
  const app = new Koa();
  // Load generators stop in the middle of downloads, and Koa logs an error for each of them.
  app.silent = true;
  app.use(async (context) => {
    const name = nameIn(context.path);
    if (way === 'usual') await koaSend(context, name, { root: directory });
    else if (way === 'Buffer') {
      const { headers, bytes } = inMemory.get(name) ?? NOTHING;
      context.set(headers);
      context.body = bytes;
    } else if (!(await hot.trySend(context, artifactOf(name)))) context.status = 404;
  });
  return { server: createServer(app.callback()), stats: hot.stats };
}

async function fastifyApp(options: AppOptions): Promise<App> {
  const { way, directory, inMemory } = options;
  const hot = createFastifySender();
  const artifactOf = artifactIn(options);
  const app = fastify();
  await app.register(fastifyStatic, { root: directory, serve: false });
  app.get<{ Params: { name: string } }>('/:name', async (request, reply) => {
    const { name } = request.params;
    if (way === 'usual') return reply.sendFile(name);
    if (way === 'Buffer') {
      const { headers, bytes } = inMemory.get(name) ?? NOTHING;
      return reply.headers(headers).send(bytes);
    }
    if (!(await hot.trySend(request, reply, artifactOf(name)))) return reply.callNotFound();
  });
  await app.ready();
  return { server: app.server, stats: hot.stats };
}

function honoApp(options: AppOptions): App {
  const { way, directory, inMemory } = options;
  const hot = createHonoSender();
  const artifactOf = artifactIn(options);
  const app = new Hono();
  if (way === 'usual') app.use('/*', serveStatic({ root: directory }));
  app.get('/:name', async (context) => {
    const name = context.req.param('name');
    if (way === 'Buffer') {
      const { headers, bytes } = inMemory.get(name) ?? NOTHING;
      return context.body(bytes as Uint8Array<ArrayBuffer>, 200, headers);
    }
    return (await hot.trySend(context, artifactOf(name))) || context.notFound();
  });
  return { server: createServer(getRequestListener(app.fetch)), stats: hot.stats };
}

const NOTHING: InMemory = { bytes: Buffer.alloc(0), headers: {} };

function sendBuffer(response: ServerResponse, artifact: InMemory | undefined): void {
  if (artifact === undefined) response.writeHead(404).end();
  else response.writeHead(200, artifact.headers).end(artifact.bytes);
}

function nameIn(url = '/'): string {
  return url.slice(1);
}
