import { writeFile } from 'node:fs/promises';
import http from 'node:http';
import { getRequestListener } from '@hono/node-server';
import test, { type ExecutionContext } from 'ava';
import express from 'express';
import express4 from 'express4';
import fastify from 'fastify';
import { Hono } from 'hono';
import Koa from 'koa';
import Koa2 from 'koa2';
import * as onExpress from '../../../src/adapters/express.js';
import * as onFastify from '../../../src/adapters/fastify.js';
import * as onHono from '../../../src/adapters/hono.js';
import * as onKoa from '../../../src/adapters/koa.js';
import { fileArtifact } from '../../../src/contract/file-artifact.js';
import { assertBody } from '../../behaviour/site.js';
import { request } from '../../helpers/client.js';
import type { Listener } from '../../helpers/mounts.js';
import { type Kind, startListener } from '../../helpers/servers.js';
import { content, temporaryDirectory } from '../../stores/fixture.js';

const BYTES = content(100_000);

/** One application for each framework, with the one-line route that the documentation shows. */
const APPS: Readonly<Record<string, { kind: Kind; listener(t: ExecutionContext, path: string): Promise<Listener> }>> = {
  'Express 5': {
    kind: 'express-http',
    async listener(t, path) {
      const hot = onExpress.createSender();
      t.teardown(() => hot.close());
      const app = express();
      app.get('/:name', async (request, response) => {
        await hot.send(request, response, fileArtifact(path + request.params.name));
      });
      return app as unknown as Listener;
    },
  },
  'Express 4': {
    kind: 'express4-http',
    async listener(t, path) {
      const hot = onExpress.createSender();
      t.teardown(() => hot.close());
      const app = express4();
      app.get('/:name', (request, response, next) => {
        hot.send(request, response, fileArtifact(path + request.params.name)).catch(next);
      });
      return app as unknown as Listener;
    },
  },
  'Koa 3': { kind: 'koa-http', listener: (t, path) => koaApp(t, new Koa(), path) },
  'Koa 2': { kind: 'koa2-http', listener: (t, path) => koaApp(t, new Koa2(), path) },
  Fastify: {
    kind: 'fastify-http',
    async listener(t, path) {
      const hot = onFastify.createSender();
      t.teardown(() => hot.close());
      let listener: Listener | undefined;
      const app = fastify({
        serverFactory(listen) {
          listener = listen as unknown as Listener;
          return http.createServer();
        },
      });
      app.get<{ Params: { name: string } }>('/:name', async (request, reply) => {
        await hot.send(request, reply, fileArtifact(path + request.params.name));
      });
      await app.ready();
      return (request, response) => listener?.(request, response);
    },
  },
  Hono: {
    kind: 'hono-http',
    async listener(t, path) {
      const hot = onHono.createSender();
      t.teardown(() => hot.close());
      const app = new Hono();
      app.get('/:name', (c) => hot.send(c, fileArtifact(path + c.req.param('name'))));
      return getRequestListener(app.fetch) as Listener;
    },
  },
};

async function koaApp(t: ExecutionContext, app: Koa, path: string): Promise<Listener> {
  const hot = onKoa.createSender();
  t.teardown(() => hot.close());
  app.silent = true;
  app.use(async (context) => {
    await hot.send(context, fileArtifact(path + context.path.slice(1)));
  });
  return app.callback();
}

for (const [name, { kind, listener }] of Object.entries(APPS)) {
  test(`${name}: a route of one line sends a file, answers 404 for a missing one, and keeps serving`, async (t) => {
    const path = `${await temporaryDirectory(t)}/`;
    await writeFile(`${path}file`, BYTES);
    const server = await startListener(t, kind, await listener(t, path));
    for (let round = 0; round < 2; round++) {
      const found = await request(server, { path: '/file' });
      t.is(found.status, 200);
      assertBody(t, found.body, BYTES);
      const missing = await request(server, { path: '/none' });
      t.is(missing.status, 404);
      t.false(missing.body.includes(path), 'the response does not name the path');
    }
  });
}
