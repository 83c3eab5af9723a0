import { mkdir, readdir, readlink, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { Writable } from 'node:stream';
import fastifyCompress from '@fastify/compress';
import fastifyCookie from '@fastify/cookie';
import fastifyCors from '@fastify/cors';
import fastifyHelmet from '@fastify/helmet';
import test, { type ExecutionContext } from 'ava';
import fastify, { type FastifyInstance } from 'fastify';
import { type ArtifactReply, createSender, fastifyPlugin, fastifySender } from '../../src/adapters/fastify.js';
import type { Artifact } from '../../src/contract/artifact.js';
import { HotblobError } from '../../src/contract/errors.js';
import { fileArtifact } from '../../src/contract/file-artifact.js';
import { createHandler } from '../../src/handler/handler.js';
import { memoryStore } from '../../src/stores/memory.js';
import { assertBody, storeOf } from '../behaviour/site.js';
import { until } from '../helpers/poll.js';
import { SlowArtifact } from '../helpers/slow-artifact.js';
import { content, temporaryDirectory } from '../stores/fixture.js';

const BYTES = content(200_000);
const store = storeOf({ key: { kind: 'bytes', bytes: BYTES, contentType: 'text/plain' } });

declare module 'fastify' {
  interface FastifyReply extends ArtifactReply {}
}

type Ask = (path: string, init?: RequestInit) => Promise<Response>;

async function listen(t: ExecutionContext, app: FastifyInstance): Promise<Ask> {
  t.teardown(() => app.close());
  await app.listen({ port: 0, host: '127.0.0.1' });
  // A server that listens on a port has an AddressInfo.
  const { port } = app.server.address() as AddressInfo;
  return (path, init) => fetch(`http://127.0.0.1:${port}${path}`, init);
}

/** Returns the number of descriptors that this process has for a path. */
async function descriptorsOf(path: string): Promise<number> {
  const open = (await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => ''));
  return (await Promise.all(open)).filter((each) => each === path).length;
}

async function bodyOf(response: Response): Promise<Buffer> {
  return Buffer.from(await response.arrayBuffer());
}

test('request hooks and onResponse run around the handler, payload hooks do not, and a hook may reject a request', async (t) => {
  const handler = createHandler({ store });
  const app = fastify();
  const ran: string[] = [];
  app.addHook('onRequest', async (request, reply) => {
    ran.push('onRequest');
    if (request.headers.authorization !== 'Bearer good') return reply.code(401).send({ error: 'of the host' });
  });
  app.addHook('preParsing', async () => void ran.push('preParsing'));
  app.addHook('preValidation', async () => void ran.push('preValidation'));
  app.addHook('preHandler', async () => void ran.push('preHandler'));
  app.addHook('preSerialization', async () => void ran.push('preSerialization'));
  app.addHook('onSend', async () => void ran.push('onSend'));
  app.addHook('onResponse', async (_request, reply) => void ran.push(`onResponse ${reply.statusCode}`));
  app.register(fastifyPlugin, { handler, prefix: '/cache' });
  const ask = await listen(t, app);

  t.is((await ask('/cache/key')).status, 401);
  await until('the rejection is over', () => ran.at(-1) === 'onResponse 401');
  t.false(ran.includes('preHandler'));
  ran.length = 0;

  const headers = { authorization: 'Bearer good' };
  assertBody(t, await bodyOf(await ask('/cache/key', { headers })), BYTES);
  await until('the download is over', () => ran.at(-1) === 'onResponse 200');
  t.deepEqual(ran, ['onRequest', 'preParsing', 'preValidation', 'preHandler', 'onResponse 200']);
  ran.length = 0;

  t.is((await ask('/cache/missing', { headers })).status, 404);
  await until('the miss is over', () => ran.at(-1) === 'onResponse 404');
  t.false(ran.includes('onSend'));
});

test('the plugin is encapsulated: it does not parse bodies or limit their size, and other routes still do', async (t) => {
  const handler = createHandler({ store: memoryStore() });
  const app = fastify({ bodyLimit: 1000 });
  app.post('/json', async (request) => request.body);
  app.register(fastifyPlugin, { handler, prefix: '/cache' });
  const ask = await listen(t, app);

  const headers = { 'content-type': 'application/json' };
  const parsed = await ask('/json', { method: 'POST', headers, body: '{"a":1}' });
  t.deepEqual(await parsed.json(), { a: 1 });
  t.is((await ask('/json', { method: 'POST', headers, body: JSON.stringify('a'.repeat(1000)) })).status, 413);

  for (const type of [
    'application/json',
    'application/octet-stream',
    'application/vnd.gradle.build-cache-artifact.v1',
  ]) {
    const put = await ask('/cache/key', { method: 'PUT', headers: { 'content-type': type }, body: BYTES });
    t.is(put.status, 200, type);
    assertBody(t, await bodyOf(await ask('/cache/key')), BYTES);
  }
});

test('handlers can be mounted several times, with parameters, beside routes and a not-found handler of the host', async (t) => {
  const first = createHandler({ store });
  const second = createHandler({ store: storeOf({ other: { kind: 'bytes', bytes: BYTES } }), fallthrough: true });
  const app = fastify();
  const teams: unknown[] = [];
  app.addHook('preHandler', async ({ params }) => void teams.push((params as { team?: string }).team));
  app.get('/first/own', async () => 'of the host');
  app.setNotFoundHandler(async (_request, reply) => reply.code(404).send('not found by the host'));
  app.register(fastifyPlugin, { handler: first, prefix: '/first' });
  app.register(fastifyPlugin, { handler: first, prefix: '/v1/:team/again/' });
  app.register(fastifyPlugin, { handler: second, prefix: '/second' });
  const ask = await listen(t, app);

  assertBody(t, await bodyOf(await ask('/first/key')), BYTES);
  assertBody(t, await bodyOf(await ask('/v1/a%2Fb/again/key?q=1')), BYTES);
  t.is(teams.at(-1), 'a/b');
  assertBody(t, await bodyOf(await ask('/second/other')), BYTES);
  t.is(await (await ask('/first/own')).text(), 'of the host');
  t.deepEqual(await (await ask('/first/missing')).json(), { message: 'Not found.' });
  for (const path of ['/second/missing', '/elsewhere', '/first']) {
    const response = await ask(path);
    t.is(response.status, 404);
    t.is(await response.text(), 'not found by the host', path);
  }
});

test('headers set by Fastify plugins are sent, and @fastify/compress does not compress artifacts', async (t) => {
  const handler = createHandler({ store });
  const app = fastify();
  await app.register(fastifyCors, { origin: 'https://builds.example' });
  await app.register(fastifyHelmet);
  await app.register(fastifyCompress, { threshold: 0 });
  await app.register(fastifyCookie);
  app.addHook('preHandler', async (_request, reply) => {
    reply.header('x-request-id', 'r1').header('x-list', ['a', 'b']);
  });
  app.register(fastifyPlugin, { handler, prefix: '/cache' });
  const hot = createSender();
  app.addHook('onClose', async () => hot.close());
  app.get('/route', async (request, reply) => {
    reply.header('set-cookie', ['a=1', 'b=2']);
    await hot.send(request, reply, { kind: 'bytes', bytes: BYTES, contentType: 'text/plain' });
  });
  const ask = await listen(t, app);

  for (const path of ['/cache/key', '/route']) {
    const response = await ask(path, { headers: { 'accept-encoding': 'gzip', origin: 'https://builds.example' } });
    t.is(response.headers.get('access-control-allow-origin'), 'https://builds.example');
    t.is(response.headers.get('x-frame-options'), 'SAMEORIGIN');
    t.is(response.headers.get('x-request-id'), 'r1');
    t.is(response.headers.get('x-list'), 'a, b');
    t.is(response.headers.get('content-encoding'), null);
    t.is(response.headers.get('content-length'), String(BYTES.byteLength));
    if (path === '/route') t.deepEqual(response.headers.getSetCookie(), ['a=1', 'b=2']);
    assertBody(t, await bodyOf(response), BYTES);
  }
});

test('fastifySender decorates replies in its scope only, and leaves misses and errors to the route', async (t) => {
  const directory = await temporaryDirectory(t);
  await writeFile(`${directory}/file`, BYTES);
  await mkdir(`${directory}/directory`);
  const errors: unknown[] = [];
  const app = fastify();
  app.setErrorHandler((error: Error & { code: string; statusCode: number }, _request, reply) => {
    errors.push(error);
    return reply.code(error.statusCode).send(`host: ${error.code}`);
  });
  app.setNotFoundHandler(async (_request, reply) => reply.code(404).send('host: not found'));
  let isDecoratedOutside = true;
  app.register(async (scope) => {
    await scope.register(fastifySender, { maxPooledBytes: 4 * 1024 * 1024 });
    scope.get('/files/*', async (request, reply) => {
      const { '*': path = '' } = request.params as Record<string, string>;
      if (!(await reply.trySendArtifact(fileArtifact(path, { root: directory })))) return reply.callNotFound();
    });
    scope.get('/short', async (_request, reply) => {
      await reply.sendArtifact(fileArtifact(`${directory}/file`, { length: BYTES.byteLength + 1 }));
    });
  });
  app.after(() => {
    isDecoratedOutside = app.hasReplyDecorator('sendArtifact');
  });
  const ask = await listen(t, app);

  assertBody(t, await bodyOf(await ask('/files/file')), BYTES);
  for (const path of ['/files/none', '/files/directory', '/files/..%2F..%2Fetc%2Fpasswd', '/files/a%00b']) {
    const response = await ask(path);
    t.is(response.status, 404, path);
    t.is(await response.text(), 'host: not found');
  }
  const short = await ask('/short');
  t.is(short.status, 500);
  t.is(await short.text(), 'host: ERR_HOTBLOB_TRUNCATED');
  t.is(errors.length, 1);
  t.false(isDecoratedOutside);
});

test('the Fastify logger logs the status of hits and misses, and no errors', async (t) => {
  const lines: Record<string, unknown>[] = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      lines.push(JSON.parse(String(chunk)));
      done();
    },
  });
  const artifacts: Record<string, Artifact> = { '/good': { kind: 'bytes', bytes: BYTES } };
  const hot = createSender();
  const app = fastify({ logger: { level: 'info', stream } });
  app.addHook('onClose', async () => hot.close());
  app.get('/*', async (request, reply) => {
    const artifact = artifacts[request.url] ?? fileArtifact('/none');
    if (!(await hot.trySend(request, reply, artifact))) return reply.callNotFound();
  });
  const ask = await listen(t, app);
  await ask('/good', { headers: { range: 'bytes=0-0' } });
  await ask('/bad');
  const completed = (): unknown[] =>
    lines.filter(({ msg }) => msg === 'request completed').map(({ res }) => (res as { statusCode: number }).statusCode);
  await until('both requests are logged', () => completed().length === 2);
  t.deepEqual(completed(), [206, 404]);
  t.deepEqual(
    lines.filter(({ level }) => Number(level) > 30),
    [],
  );
});

test('methods that Fastify does not support by default reach the handler', async (t) => {
  const app = fastify();
  app.register(fastifyPlugin, { handler: createHandler({ store }), prefix: '/cache' });
  app.register(fastifyPlugin, { handler: createHandler({ store }), prefix: '/again' });
  const ask = await listen(t, app);
  for (const method of ['PROPFIND', 'MKCOL', 'OPTIONS', 'PATCH']) {
    const response = await ask('/cache/key', { method });
    t.is(response.status, 405, method);
    t.is(response.headers.get('allow'), 'GET, HEAD');
  }
});

test('the plugin rejects options without a handler', async (t) => {
  const app = fastify();
  app.register(fastifyPlugin, { prefix: '/cache' } as never);
  const error = await t.throwsAsync(async () => app.ready(), { instanceOf: HotblobError });
  t.regex(
    error?.message ?? '',
    /^options: expected app\.register\(fastifyPlugin, \{ handler \}\), received 'no handler'$/,
  );
});

test('an error of the route after the headers are sent does not abort the response', async (t) => {
  const slow = new SlowArtifact(BYTES);
  const hot = createSender();
  const app = fastify();
  app.addHook('onClose', async () => hot.close());
  app.get('/', async (request, reply) => {
    void hot.send(request, reply, slow.artifact);
    await slow.begun;
    setImmediate(() => slow.release());
    throw new Error('too late');
  });
  const ask = await listen(t, app);
  assertBody(t, await bodyOf(await ask('/')), BYTES);
});

test('closing the application closes the files that sendArtifact opened', async (t) => {
  const directory = await temporaryDirectory(t);
  await writeFile(`${directory}/file`, BYTES);
  const app = fastify();
  await app.register(fastifySender, {});
  app.get('/', async (_request, reply) => {
    await reply.sendArtifact(fileArtifact(`${directory}/file`));
  });
  const ask = await listen(t, app);
  assertBody(t, await bodyOf(await ask('/')), BYTES);
  t.is(await descriptorsOf(`${directory}/file`), 1);
  await app.close();
  await until('the descriptor is closed', async () => (await descriptorsOf(`${directory}/file`)) === 0);
});
