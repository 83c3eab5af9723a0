import diagnosticsChannel from 'node:diagnostics_channel';
import { once } from 'node:events';
import { truncate, writeFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { getRequestListener } from '@hono/node-server';
import test, { type ExecutionContext } from 'ava';
import { Hono } from 'hono';
import { createSender, type FetchHandlerOptions, fetchHandler } from '../../src/adapters/fetch.js';
import type { Artifact } from '../../src/contract/artifact.js';
import { HotblobError } from '../../src/contract/errors.js';
import type { Exchange } from '../../src/contract/exchange.js';
import { fileArtifact } from '../../src/contract/file-artifact.js';
import { SendError } from '../../src/contract/send-error.js';
import type { Store } from '../../src/contract/store.js';
import { createHandler } from '../../src/handler/handler.js';
import type { HandlerOptions, SenderOptions } from '../../src/handler/options.js';
import type { ResponseReport } from '../../src/handler/response-record.js';
import { memoryStore } from '../../src/stores/memory.js';
import { assertBody, storeOf } from '../behaviour/site.js';
import { request } from '../helpers/client.js';
import type { Listener } from '../helpers/mounts.js';
import { until } from '../helpers/poll.js';
import { startListener } from '../helpers/servers.js';
import { withSources } from '../helpers/sources.js';
import { content, refusal, temporaryDirectory } from '../stores/fixture.js';

const KIB = 1024;
const WINDOW_BYTES = 256 * KIB;
const BYTES = content(3 * WINDOW_BYTES + 1);

/** Creates a handler and its function of the Fetch API. A path is the URL of a GET. */
function serve(t: ExecutionContext, options: HandlerOptions, fetchOptions: FetchHandlerOptions = {}) {
  const handler = createHandler(options);
  t.teardown(() => handler.close());
  const respond = fetchHandler(handler, fetchOptions);
  const ask = (path: string, init?: RequestInit) => respond(new Request(`http://localhost${path}`, init));
  return { handler, respond, ask };
}

async function bytesOf(response: Response): Promise<Buffer> {
  return Buffer.from(await response.arrayBuffer());
}

function readerOf({ body }: Response) {
  if (body === null) throw new Error('the response has no body');
  return body.getReader();
}

async function fileOf(t: ExecutionContext, bytes = BYTES): Promise<string> {
  const path = `${await temporaryDirectory(t)}/file`;
  await writeFile(path, bytes);
  return path;
}

test('stores, sends and deletes an artifact', async (t) => {
  const { ask } = serve(t, { store: memoryStore() });
  t.is((await ask('/key', { method: 'PUT', body: BYTES })).status, 200);
  const response = await ask('/key');
  t.is(response.status, 200);
  t.is(response.headers.get('content-length'), String(BYTES.byteLength));
  assertBody(t, await bytesOf(response), BYTES);
  const range = await ask('/key?a=b', { headers: { range: 'bytes=-9' } });
  t.is(range.status, 206);
  assertBody(t, await bytesOf(range), BYTES.subarray(-9));
  const head = await ask('/key', { method: 'HEAD' });
  t.is(head.headers.get('content-length'), String(BYTES.byteLength));
  t.is(head.body, null);
  const notModified = await ask('/key', { headers: { 'if-none-match': String(response.headers.get('etag')) } });
  t.is(notModified.status, 304);
  t.is(notModified.body, null);
  const deleted = await ask('/key', { method: 'DELETE' });
  t.is(deleted.status, 204);
  t.is(deleted.body, null);
  t.is((await ask('/key')).status, 404);
});

test('a request that the handler passes on is answered with 404, or by notFound with the same arguments', async (t) => {
  const handler = createHandler({ store: storeOf({}), fallthrough: true });
  const respond = fetchHandler(handler);
  const missing = await respond(new Request('http://localhost/key'));
  t.is(missing.status, 404);
  t.deepEqual(await missing.json(), { message: 'Not found.' });

  const falling = fetchHandler<[name: string, number: number]>(handler, {
    notFound: (request, name, number) => new Response(`${new URL(request.url).pathname} ${name} ${number}`),
  });
  const response = await falling(new Request('http://localhost/key'), 'host', 1);
  t.is(await response.text(), '/key host 1');

  const failing = fetchHandler(handler, { notFound: () => Promise.reject(new Error('of the host')) });
  await t.throwsAsync(failing(new Request('http://localhost/key')), { message: 'of the host' });
});

test('responds below the mount path only', async (t) => {
  const store = storeOf({ key: { kind: 'bytes', bytes: Buffer.from('key') }, 'a/b': { kind: 'bytes', bytes: BYTES } });
  const notFound = () => new Response('host', { status: 410 });
  const literal = serve(t, { store }, { mountPath: '/v1.0/cache/', notFound });
  for (const path of ['/v1.0/cache/key', '/v1.0/cache/key?q', '/x/../v1.0/cache/key']) {
    t.is(await (await literal.ask(path)).text(), 'key', path);
  }
  t.is((await literal.ask('/v1.0/cache/a/b')).status, 200);
  t.is((await literal.ask('/v1.0/cache/none')).status, 404);
  t.is((await literal.ask('/v1.0/cache')).status, 400);
  for (const path of ['/key', '/v1.0/key', '/v1x0/cache/key', '/v1.0/cached/key', '/v1.0/cache%2Fkey', '/']) {
    t.is((await literal.ask(path)).status, 410, path);
  }
  const { ask } = serve(t, { store }, { mountPath: '/:team/cache', notFound });
  for (const path of ['/a/cache/key', '/b%2Fc/cache/key']) t.is(await (await ask(path)).text(), 'key', path);
  for (const path of ['/cache/key', '//cache/key', '/a/b/cache/key']) t.is((await ask(path)).status, 410, path);
});

test('unknown and invalid options are rejected', (t) => {
  const handler = createHandler({ store: storeOf({}) });
  const refused: [unknown, RegExp][] = [
    [null, /^options: expected an object, received null$/],
    [{ prefix: '/cache' }, /^unknown option 'prefix'; expected one of mountPath, notFound$/],
    [{ mountPath: 'cache' }, /^mountPath: expected a path that starts with "\/" and has no "\*", received 'cache'$/],
    [{ notFound: 404 }, /^notFound: expected a function, received 404$/],
  ];
  for (const [options, message] of refused) {
    t.throws(() => fetchHandler(handler, options as never), refusal('ERR_HOTBLOB_INVALID_OPTION', message));
  }
});

test('the exchange has the method, URL, headers and body of the request', async (t) => {
  const seen: Exchange[] = [];
  const respond = fetchHandler({
    async handle(exchange) {
      seen.push(exchange);
      exchange.respond(200, {});
      exchange.end();
      return true;
    },
  });
  const headers = new Headers({ 'X-One': 'a', Cookie: 'a=1' });
  headers.append('x-one', 'b');
  headers.append('set-cookie', 'a=1');
  headers.append('set-cookie', 'b=2');
  await respond(new Request('http://localhost/a/%62?c=d#e', { method: 'PUT', headers, body: 'text' }));
  const [exchange] = seen;
  t.like(exchange, {
    method: 'PUT',
    url: '/a/%62?c=d',
    multiplexed: false,
    plain: false,
    tracked: false,
    closed: true,
  });
  t.like(exchange?.headers, { 'x-one': 'a, b', cookie: 'a=1', 'set-cookie': ['a=1', 'b=2'] });
  t.deepEqual(await exchange?.body.toArray(), [Buffer.from('text')]);
  await respond(new Request('http://localhost/'));
  t.deepEqual(await seen[1]?.body.toArray(), []);
  t.is(seen[1]?.headers['set-cookie'], undefined);
});

test('resolves with the headers, and sends the body as the client reads it', async (t) => {
  const path = await fileOf(t);
  const { handler, ask } = serve(
    t,
    withSources({ store: storeOf({ key: { kind: 'file', path, immutable: true } }), only: 'read', map: 'always' }),
  );
  const response = await ask('/key');
  const sent = () => handler.stats().sent.read;
  const reader = readerOf(response);
  t.deepEqual(sent(), { windows: 0, bytes: 0 });
  const received: Uint8Array[] = [];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    received.push(value);
    // One window waits for the client, and one is read ahead.
    t.true(handler.stats().pooledBytes <= 2 * WINDOW_BYTES);
    t.true(sent().bytes <= Buffer.concat(received).byteLength);
  }
  assertBody(t, Buffer.concat(received), BYTES);
  await until('the response is counted', () => handler.stats().active === 0);
  t.is(sent().bytes, BYTES.byteLength);
  t.like(handler.stats(), { pooledBytes: 0, mappedBytes: 0 });
});

test('files are not mapped, even with map: always', async (t) => {
  const path = await fileOf(t);
  const { handler, ask } = serve(t, {
    store: storeOf({ key: { kind: 'file', path, immutable: true } }),
    map: 'always',
  });
  assertBody(t, await bytesOf(await ask('/key')), BYTES);
  t.is(handler.stats().sent.mapped.windows, 0);
  t.deepEqual(handler.stats().unmapped, { untracked: 1 });
});

test('the client may change, transfer and keep the chunks', async (t) => {
  const path = await fileOf(t);
  const bytes = Buffer.from(BYTES);
  const artifacts: Record<string, Artifact> = {
    bytes: { kind: 'bytes', bytes },
    file: { kind: 'file', path },
    stream: { kind: 'stream', size: bytes.byteLength, open: () => Readable.from([bytes]) },
  };
  const { ask } = serve(t, { store: storeOf(artifacts) });
  for (const key of Object.keys(artifacts)) {
    const kept: Uint8Array[] = [];
    for await (const chunk of (await ask(`/${key}`)).body ?? []) {
      kept.push(structuredClone(chunk, { transfer: [chunk.buffer] }));
    }
    assertBody(t, Buffer.concat(kept), BYTES);
    for await (const chunk of (await ask(`/${key}`)).body ?? []) chunk.fill(0);
    assertBody(t, await bytesOf(await ask(`/${key}`)), BYTES);
    assertBody(t, Buffer.concat(kept), BYTES);
  }
  // Small responses, too: Node allocates small buffers in a pool.
  for await (const chunk of (await ask('/none')).body ?? []) t.is(chunk.byteLength, chunk.buffer.byteLength);
});

/** Ways in which a client or its server abandons a response. */
const ENDS: Readonly<Record<string, (response: Response, client: AbortController) => unknown>> = {
  'the body is cancelled': ({ body }) => body?.cancel(),
  'a reader cancels': (response) => readerOf(response).cancel(),
  'the request is aborted': (_response, client) => client.abort(),
};

for (const [title, end] of Object.entries(ENDS)) {
  test(`${title}: the response ends, and every lease is released once`, async (t) => {
    const path = await fileOf(t);
    for (const only of ['copied', 'read'] as const) {
      const { handler, ask } = serve(
        t,
        withSources<HandlerOptions>({ store: storeOf({ key: { kind: 'file', path } }), only }),
      );
      for (let round = 0; round < 3; round++) {
        const client = new AbortController();
        const response = await ask('/key', { signal: client.signal });
        t.true(handler.stats().pooledBytes > 0);
        await end(response, client);
        // A buffer of a pending read is released when the read completes.
        await until('all leases are released', () => handler.stats().active === 0 && handler.stats().pooledBytes === 0);
      }
      t.deepEqual(handler.stats().responses, { 200: 3 });
      t.is(handler.stats().sent[only].windows, 0);
    }
  });
}

test('a client that disconnects between two chunks aborts the signal of the store and destroys its stream', async (t) => {
  const signals: AbortSignal[] = [];
  const streams: Readable[] = [];
  const artifact: Artifact = {
    kind: 'stream',
    open(_range, { signal }) {
      signals.push(signal);
      const stream = new Readable({ read() {} });
      stream.push('first');
      streams.push(stream);
      return stream;
    },
  };
  const { handler, ask } = serve(t, { store: storeOf({ key: artifact }) });
  for (const how of ['cancel', 'abort']) {
    const client = new AbortController();
    const reader = readerOf(await ask('/key', { signal: client.signal }));
    t.is(Buffer.from((await reader.read()).value ?? []).toString(), 'first');
    const next = reader.read();
    if (how === 'abort') {
      client.abort(new Error('of the client'));
      await t.throwsAsync(next, { message: 'of the client' });
    } else {
      await reader.cancel();
      t.true((await next).done);
    }
    await until('the stream is destroyed', () => streams.at(-1)?.destroyed === true);
    t.true(signals.at(-1)?.aborted);
    await until('the response has ended', () => handler.stats().active === 0);
  }
});

test('a request that is aborted before its headers resolves at once, even if the store ignores the signal', async (t) => {
  const store: Store = { get: () => new Promise(() => {}) };
  const { ask } = serve(t, { store });
  const client = new AbortController();
  const pending = ask('/key', { signal: client.signal });
  client.abort();
  t.is((await pending).status, 499);
  const late = serve(t, { store: storeOf({ key: { kind: 'bytes', bytes: BYTES } }) });
  t.is((await late.ask('/key', { signal: AbortSignal.abort() })).status, 499);
  t.is(late.handler.stats().active, 0);
});

// Serial, because the test triggers garbage collection.
test.serial('a response that the host discards is released when it is garbage-collected', async (t) => {
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  const path = await fileOf(t);
  const { handler, ask } = serve(t, { store: storeOf({ key: { kind: 'file', path } }) });
  const dropped = async (): Promise<void> => {
    // Middleware that responds with 304 itself discards the response in this way.
    const { status } = await ask('/key');
    t.is(status, 200);
  };
  const kept = await ask('/key');
  for (let count = 0; count < 3; count++) await dropped();
  t.is(handler.stats().active, 4);
  await until('the dropped ones have ended', () => {
    collect();
    return handler.stats().active === 1;
  });
  assertBody(t, await bytesOf(kept), BYTES);
  await until('all leases are released', () => handler.stats().active === 0);
  t.is(handler.stats().pooledBytes, 0);
});

test('a failing body is an error of the stream, and its message names no file', async (t) => {
  const path = await fileOf(t);
  const { ask } = serve(
    t,
    withSources<HandlerOptions>({ store: storeOf({ key: { kind: 'file', path } }), only: 'read' }),
  );
  const reader = readerOf(await ask('/key'));
  await truncate(path, 1);
  const error = await t.throwsAsync(async () => {
    while (!(await reader.read()).done);
  });
  t.is(error?.message, 'the response ended early');
  t.true(error?.cause instanceof HotblobError);
});

test('an invalid status or header is answered with 500', async (t) => {
  const { ask } = serve(t, {
    store: storeOf({
      name: { kind: 'bytes', bytes: BYTES, headers: { 'x name': 'a' } },
      value: { kind: 'bytes', bytes: BYTES, contentType: 'text/plain\n' },
    }),
  });
  for (const key of ['name', 'value']) t.is((await ask(`/${key}`)).status, 500, key);
});

test('a handler that does not respond, or throws, does not make the host wait', async (t) => {
  const silent = fetchHandler({ handle: async () => true });
  t.is((await silent(new Request('http://localhost/'))).status, 500);
  const throwing = fetchHandler({ handle: () => Promise.reject(new Error('of a wrapper')) });
  await t.throwsAsync(throwing(new Request('http://localhost/')), { message: 'of a wrapper' });
});

test('the rest of a rejected upload is read and discarded for a while, then cancelled', async (t) => {
  const { ask } = serve(t, { store: memoryStore(), maxUploadBytes: 10 });
  const upload = (headers: Record<string, string>) => {
    let pulls = 0;
    let isCancelled = false;
    const body = new ReadableStream({
      pull(controller) {
        pulls++;
        controller.enqueue(Buffer.alloc(KIB));
        return new Promise(setImmediate);
      },
      cancel() {
        isCancelled = true;
      },
    });
    const response = ask('/key', { method: 'PUT', headers, body, duplex: 'half' });
    return { response, isCancelled: () => isCancelled, pulls: () => pulls };
  };
  const announced = upload({ 'content-length': '11' });
  const growing = upload({ 'transfer-encoding': 'chunked' });
  for (const { response } of [announced, growing]) t.is((await response).status, 413);
  for (const { pulls } of [announced, growing]) {
    const before = pulls();
    await until('the body is still being read', () => pulls() > before + 2);
  }
  for (const { isCancelled, pulls } of [announced, growing]) {
    await until('the body is cancelled', isCancelled);
    t.true(pulls() * KIB >= 256 * KIB * KIB, `cancelled after ${pulls()} KiB`);
  }
});

test('an upload whose body the host has already read is rejected', async (t) => {
  const { respond } = serve(t, { store: memoryStore() });
  const request = new Request('http://localhost/key', { method: 'PUT', body: 'text' });
  await request.text();
  t.is((await respond(request)).status, 500);
});

test('many handlers for one request leave no listeners on its signal', async (t) => {
  const warnings: Error[] = [];
  const onWarning = (warning: Error): void => {
    // Other tests of this file run at the same time.
    if (warning.name !== 'HotblobWarning') warnings.push(warning);
  };
  process.on('warning', onWarning);
  t.teardown(() => process.off('warning', onWarning));
  let respond = async (_request: Request): Promise<Response> => new Response('host');
  for (let count = 0; count < 15; count++) {
    const notFound = respond;
    respond = fetchHandler(createHandler({ store: storeOf({}), fallthrough: true }), { notFound });
  }
  t.is(await (await respond(new Request('http://localhost/key'))).text(), 'host');
  // Node emits warnings on a later tick.
  await new Promise(setImmediate);
  t.deepEqual(warnings, []);
});

/** Creates a sender and a request. */
function sender(t: ExecutionContext, options: SenderOptions = {}) {
  const hot = createSender(options);
  t.teardown(() => hot.close());
  return { hot, get: (init?: RequestInit) => new Request('http://localhost/route', init) };
}

// Serial, because all senders of the process share the channel.
test.serial('a sender sends the artifact that a route has looked up', async (t) => {
  const path = await fileOf(t);
  const { hot, get } = sender(t);
  const reports: ResponseReport[] = [];
  const onReport = (message: unknown): void => void reports.push(message as ResponseReport);
  diagnosticsChannel.subscribe('hotblob:response', onReport);
  t.teardown(() => diagnosticsChannel.unsubscribe('hotblob:response', onReport));
  const response = await hot.send(get(), fileArtifact(path));
  t.is(response.status, 200);
  assertBody(t, await bytesOf(response), BYTES);
  const range = await hot.trySend(get({ headers: { range: 'bytes=0-4' } }), fileArtifact(path));
  assertBody(t, await bytesOf(range || new Response()), BYTES.subarray(0, 5));
  t.like(hot.stats(), { responses: { 200: 1, 206: 1 }, openFiles: 1, active: 0 });
  t.deepEqual(
    reports.map(({ sender: reporter, status, complete }) => [reporter === hot, status, complete]),
    [
      [true, 200, true],
      [true, 206, true],
    ],
  );
});

test('for a missing file, send rejects with an error that has a response, and trySend resolves to false', async (t) => {
  const { hot, get } = sender(t);
  const missing = fileArtifact('/nowhere/file');
  t.is(await hot.trySend(get(), missing), false);
  const error = await t.throwsAsync(hot.send(get(), missing), { instanceOf: SendError });
  t.like(error, { name: 'SendError', code: 'ERR_HOTBLOB_NOT_FOUND', status: 404 });
  // Hono calls getResponse() without declaring a type for it.
  const response: Response = (error as SendError & { getResponse(): Response }).getResponse();
  t.is(response.status, 404);
  t.deepEqual(await response.json(), { message: 'Not found.' });
  t.like(hot.stats(), { active: 0, responses: {} });
});

test('send rejects if the request is aborted before the headers, even if the artifact ignores the signal', async (t) => {
  const { hot, get } = sender(t);
  const client = new AbortController();
  const opened = new EventTarget();
  const open = (): Promise<Readable> => {
    opened.dispatchEvent(new Event('open'));
    return new Promise(() => {});
  };
  const opening = once(opened, 'open');
  const sending = hot.send(get({ signal: client.signal }), { kind: 'stream', open });
  await opening;
  client.abort();
  await t.throwsAsync(sending, { code: 'ERR_HOTBLOB_CLIENT_GONE' });
  const late = hot.trySend(get({ signal: AbortSignal.abort() }), { kind: 'bytes', bytes: BYTES });
  await t.throwsAsync(late, { instanceOf: SendError, code: 'ERR_HOTBLOB_CLIENT_GONE' });
});

test('a client of @hono/node-server that disconnects ends the response', async (t) => {
  const path = await fileOf(t, content(20 * WINDOW_BYTES));
  const { handler, respond } = serve(t, { store: storeOf({ key: { kind: 'file', path } }) });
  const listener = getRequestListener((incoming) => respond(incoming), { overrideGlobalObjects: false });
  const server = await startListener(t, 'http', listener as Listener);
  const part = await request(server, { path: '/key', headers: { range: 'bytes=0-999999' } });
  assertBody(t, part.body, content(1_000_000));
  const client = new AbortController();
  const download = await fetch(`http://127.0.0.1:${server.port}/key`, { signal: client.signal });
  const reader = readerOf(download);
  await reader.read();
  client.abort();
  await t.throwsAsync(reader.read(), { any: true });
  await until('nothing is lent', () => handler.stats().active === 0 && handler.stats().pooledBytes === 0);
  t.deepEqual(handler.stats().responses, { 200: 1, 206: 1 });
});

test('a handler and a sender work in Hono without @hono/node-server, and errors reach its error handler', async (t) => {
  const path = await fileOf(t);
  const { hot } = sender(t);
  const handler = createHandler({ store: storeOf({ key: { kind: 'bytes', bytes: BYTES } }), fallthrough: true });
  const respond = fetchHandler(handler, { mountPath: '/cache' });
  const app = new Hono();
  app.use('/cache/*', (c) => respond(c.req.raw));
  app.get('/file', (c) => hot.send(c.req.raw, fileArtifact(path)));
  app.get('/none', (c) => hot.send(c.req.raw, fileArtifact(`${path}-none`)));
  app.get('/try', async (c) => (await hot.trySend(c.req.raw, fileArtifact(`${path}-none`))) || c.text('host', 410));
  assertBody(t, await bytesOf(await app.request('/cache/key')), BYTES);
  assertBody(t, await bytesOf(await app.request('/file')), BYTES);
  const head = await app.request('/file', { method: 'HEAD' });
  t.is(head.headers.get('content-length'), String(BYTES.byteLength));
  t.is((await app.request('/cache/none')).status, 404);
  const none = await app.request('/none');
  t.is(none.status, 404);
  t.deepEqual(await none.json(), { message: 'Not found.' });
  t.is((await app.request('/try')).status, 410);
});
