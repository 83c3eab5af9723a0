import test from 'ava';
import { request } from '../helpers/client.js';
import { startServer } from '../helpers/servers.js';

const KINDS = [
  'http',
  'h2c',
  'h2c-compat',
  'connect-http',
  'express-http',
  'express4-http',
  'koa-http',
  'fastify-http',
  'hono-http',
  'port-front-http',
  'port-front-h2c',
] as const;

for (const kind of KINDS) {
  test(`${kind}: a handler that rejects is answered with 500, and the server keeps serving`, async (t) => {
    let calls = 0;
    const server = await startServer(t, kind, {
      handle() {
        calls++;
        return Promise.reject(new Error('the wrapper failed'));
      },
    });
    for (const expected of [1, 2]) {
      const { status } = await request(server, { path: '/key' });
      t.is(status, 500);
      t.is(calls, expected);
    }
  });
}
