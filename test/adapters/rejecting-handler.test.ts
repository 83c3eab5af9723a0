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

for (const kind of [...KINDS, 'fetch-http'] as const) {
  test(`${kind}: a handler that rejects after the headers ends the response, and the server keeps serving`, async (t) => {
    let calls = 0;
    const server = await startServer(t, kind, {
      async handle(exchange) {
        if (calls++ > 0) return false;
        exchange.respond(200, { 'content-length': 10 });
        await exchange.write([Buffer.from('abc')], false);
        throw new Error('the wrapper failed');
      },
    });
    // The client must not wait for the rest.
    await t.throwsAsync(request(server, { path: '/key' }), { message: /aborted|reset|closed with error/ });
    t.is((await request(server, { path: '/key' })).status, 404);
  });
}
