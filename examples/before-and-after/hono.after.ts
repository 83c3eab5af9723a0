// Hono: a cache at /artifacts/<name>. Requests need a bearer token.
import { type HttpBindings, serve } from '@hono/node-server';
import { Hono } from 'hono';
import { logger } from 'hono/logger';
import { fileArtifact } from 'hotblob';
import { createSender } from 'hotblob/hono';
import { announce, isAllowed, port, root, save } from './artifacts.js';

const app = new Hono<{ Bindings: HttpBindings }>();
const hot = createSender();

app.use(logger());

app.use(async (context, next) => {
  if (!isAllowed(context.req.header('authorization')))
    return context.json({ message: 'Authentication required.' }, 401);
  return next();
});

app.get('/artifacts/:name{[\\w-]+}', async (context) => {
  const artifact = fileArtifact(context.req.param('name'), { root, immutable: true });
  return (await hot.trySend(context, artifact)) || context.notFound();
});

app.put('/artifacts/:name{[\\w-]+}', async (context) => {
  await save(context.req.param('name'), context.env.incoming);
  return context.body(null);
});

serve({ fetch: app.fetch, hostname: '127.0.0.1', port }, announce);
