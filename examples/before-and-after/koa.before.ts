// Koa: a cache at /artifacts/<name>. Requests need a bearer token.
import Koa from 'koa';
import send from 'koa-send';
import { announce, isAllowed, nameIn, port, root, save } from './artifacts.js';

const app = new Koa();

app.use(async (context, next) => {
  const start = performance.now();
  try {
    await next();
  } finally {
    console.log(`${context.method} ${context.url} ${context.status} ${(performance.now() - start).toFixed(1)} ms`);
  }
});

app.use((context, next) => {
  if (!isAllowed(context.get('authorization'))) context.throw(401);
  return next();
});

app.use(async (context) => {
  const name = nameIn(context.url);
  if (name === undefined) return context.throw(404);
  switch (context.method) {
    case 'GET':
    case 'HEAD':
      await send(context, name, { root });
      break;
    case 'PUT':
      await save(name, context.req);
      context.status = 200;
      break;
    default:
      context.throw(405);
  }
});

const server = app.listen(port, '127.0.0.1', () => announce(server.address()));
