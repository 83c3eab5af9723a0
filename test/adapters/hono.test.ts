import diagnosticsChannel from 'node:diagnostics_channel';
import { writeFile } from 'node:fs/promises';
import type http from 'node:http';
import { stripVTControlCharacters } from 'node:util';
import { createAdaptorServer } from '@hono/node-server';
import test, { type ExecutionContext } from 'ava';
import { Hono } from 'hono';
import { bearerAuth } from 'hono/bearer-auth';
import { compress } from 'hono/compress';
import { cors } from 'hono/cors';
import { etag } from 'hono/etag';
import { logger } from 'hono/logger';
import { secureHeaders } from 'hono/secure-headers';
import { timing } from 'hono/timing';
import { createSender, honoMiddleware } from '../../src/adapters/hono.js';
import { HotblobError } from '../../src/contract/errors.js';
import { fileArtifact } from '../../src/contract/file-artifact.js';
import { createHandler } from '../../src/handler/handler.js';
import type { ResponseReport } from '../../src/handler/response-record.js';
import { memoryStore } from '../../src/stores/memory.js';
import { assertBody, storeOf } from '../behaviour/site.js';
import { request } from '../helpers/client.js';
import { startListener } from '../helpers/servers.js';
import { content, temporaryDirectory } from '../stores/fixture.js';

type App = Hono;

const BYTES = content(200_000);
const store = storeOf({ key: { kind: 'bytes', bytes: BYTES, contentType: 'text/plain', etag: '"tag"' } });

/** Starts an application with the Request and Response classes of `@hono/node-server`, or with the global ones. */
async function listen(t: ExecutionContext, app: App, overrideGlobalObjects = true) {
  const hosted = createAdaptorServer({ fetch: app.fetch, overrideGlobalObjects });
  const [listener] = hosted.listeners('request') as http.RequestListener[];
  if (listener === undefined) throw new Error('no listener');
  const server = await startListener(t, 'http', listener as never);
  return (path: string, rest = {}) => request(server, { path, ...rest });
}

for (const overrideGlobalObjects of [true, false]) {
  const title = overrideGlobalObjects ? 'the Response of @hono/node-server' : 'the global Response';

  test.serial(`with ${title}: artifacts are sent through the middleware of Hono unchanged`, async (t) => {
    const path = `${await temporaryDirectory(t)}/file`;
    await writeFile(path, BYTES);
    const hot = createSender();
    t.teardown(() => hot.close());
    const lines: string[] = [];
    const app: App = new Hono();
    app.use(logger((line) => lines.push(line)));
    app.use(cors({ origin: 'https://builds.example' }), compress({ threshold: 0 }), etag(), timing(), secureHeaders());
    app.use('/cache/*', bearerAuth({ token: 'good' }));
    app.use(async (c, next) => {
      c.header('x-request-id', 'r1');
      c.header('set-cookie', 'a=1', { append: true });
      c.header('set-cookie', 'b=2', { append: true });
      await next();
    });
    app.use('/cache/*', honoMiddleware(createHandler({ store }), { mountPath: '/cache' }));
    app.get('/file', async (c) => (await hot.trySend(c, fileArtifact(path))) || c.notFound());
    const ask = await listen(t, app, overrideGlobalObjects);

    t.is((await ask('/cache/key')).status, 401);
    const headers = { authorization: 'Bearer good', origin: 'https://builds.example', 'accept-encoding': 'gzip' };
    for (const url of ['/cache/key', '/file']) {
      const response = await ask(url, { headers });
      t.is(response.status, 200, url);
      assertBody(t, response.body, BYTES);
      t.like(response.headers, {
        'access-control-allow-origin': 'https://builds.example',
        'x-request-id': 'r1',
        'set-cookie': ['a=1', 'b=2'],
        'content-length': String(BYTES.byteLength),
      });
      t.is(response.headers['content-encoding'], undefined);
      t.is(response.headers['x-hono-already-sent'], undefined);
      t.is((await ask(url, { headers: { ...headers, range: 'bytes=0-9' } })).status, 206);
      const { etag: tag } = response.headers;
      t.is((await ask(url, { headers: { ...headers, 'if-none-match': String(tag) } })).status, 304);
    }
    const answered = lines.map(stripVTControlCharacters).filter((line) => line.startsWith('-->'));
    const statuses = answered.map((line) => line.split(' ')[3]);
    t.deepEqual(statuses, ['401', '200', '206', '304', '200', '206', '304']);
  });
}

test.serial(
  'handlers can be mounted several times, with parameters, and receive the paths that Hono has routed',
  async (t) => {
    const first = createHandler({ store });
    const second = createHandler({ store: storeOf({ other: { kind: 'bytes', bytes: BYTES } }), fallthrough: true });
    const app: App = new Hono();
    app.get('/first/own', (c) => c.text('of the host'));
    app.use('/first/*', honoMiddleware(first, { mountPath: '/first' }));
    app.use('/v1/:team/again/*', honoMiddleware(first, { mountPath: '/v1/:team/again' }));
    app.use('/second/*', honoMiddleware(second, { mountPath: '/second' }));
    app.notFound((c) => c.text('not found by the host', 404));
    const ask = await listen(t, app);
    for (const path of ['/first/key', '/v1/a%2Fb/again/key?q=1', '/second/other', '/elsewhere/../first/key']) {
      assertBody(t, (await ask(path)).body, BYTES);
    }
    t.is((await ask('/first/own')).body.toString(), 'of the host');
    t.deepEqual(JSON.parse((await ask('/first/missing')).body.toString()), { message: 'Not found.' });
    for (const path of ['/second/missing', '/elsewhere', '/first/../key', '/first/%2e%2e/key']) {
      t.is((await ask(path)).body.toString(), 'not found by the host', path);
    }
  },
);

test.serial('the reports of a sender name the sender', async (t) => {
  const hot = createSender();
  t.teardown(() => hot.close());
  const senders: object[] = [];
  const onReport = (message: unknown): void => void senders.push((message as ResponseReport).sender);
  diagnosticsChannel.subscribe('hotblob:response', onReport);
  t.teardown(() => diagnosticsChannel.unsubscribe('hotblob:response', onReport));
  const app: App = new Hono();
  app.get('/', (c) => hot.send(c, { kind: 'bytes', bytes: BYTES }));
  assertBody(t, (await (await listen(t, app))('/')).body, BYTES);
  t.is(senders.length, 1);
  t.is(senders[0], hot);
});

test.serial('an upload through the middleware can be downloaded', async (t) => {
  const app: App = new Hono();
  app.use('/cache/*', honoMiddleware(createHandler({ store: memoryStore() }), { mountPath: '/cache' }));
  const ask = await listen(t, app);
  t.is((await ask('/cache/key', { method: 'PUT', body: BYTES })).status, 200);
  assertBody(t, (await ask('/cache/key')).body, BYTES);
});

test.serial(
  'without onError, Hono responds with the status of the error; an onError handler receives the error',
  async (t) => {
    const path = `${await temporaryDirectory(t)}/secret-name`;
    await writeFile(path, BYTES);
    const hot = createSender();
    t.teardown(() => hot.close());
    const artifact = fileArtifact(path, { length: BYTES.byteLength + 1 });
    const plain: App = new Hono();
    plain.get('/', async (c) => (await hot.trySend(c, artifact)) || c.notFound());
    const { status, body } = await (await listen(t, plain))('/');
    t.is(status, 500);
    t.deepEqual(JSON.parse(body.toString()), { message: 'Internal server error.' });

    const handled: App = new Hono();
    handled.get('/', async (c) => (await hot.trySend(c, artifact)) || c.notFound());
    handled.onError((error, c) => c.text(`host: ${'code' in error ? error.code : 'no code'}`, 502));
    const own = await (await listen(t, handled))('/');
    t.is(own.status, 502);
    t.is(own.body.toString(), 'host: ERR_HOTBLOB_TRUNCATED');
  },
);

test.serial('without @hono/node-server, sending fails with an error that names it', async (t) => {
  const hot = createSender();
  t.teardown(() => hot.close());
  const errors: unknown[] = [];
  const app: App = new Hono();
  app.onError((error, c) => {
    errors.push(error);
    return c.body(null, 500);
  });
  app.get('/route', async (c) => (await hot.trySend(c, fileArtifact('/none'))) || c.notFound());
  app.use('/cache/*', honoMiddleware(createHandler({ store }), { mountPath: '/cache' }));
  for (const path of ['/route', '/cache/key']) t.is((await app.request(path)).status, 500);
  for (const error of errors) {
    t.true(error instanceof HotblobError);
    t.regex(String(error), /@hono\/node-server/);
  }
  t.is(errors.length, 2);
});

test('an invalid mount path and an unknown option are rejected', (t) => {
  const handler = createHandler({ store });
  t.throws(() => honoMiddleware(handler, { mountPath: 'cache' }), { message: /^mountPath: expected a path/ });
  t.throws(() => honoMiddleware(handler, { prefix: '/cache' } as never), { message: /^unknown option 'prefix'; / });
});
