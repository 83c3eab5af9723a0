import diagnosticsChannel from 'node:diagnostics_channel';
import test, { type ExecutionContext } from 'ava';
import { fetchHandler } from '../../src/adapters/fetch.js';
import type { NodeRequest } from '../../src/adapters/node.js';
import { createHandler, type Handler } from '../../src/handler/handler.js';
import { RESPONSE_CHANNEL, type ResponseReport } from '../../src/handler/response-record.js';
import { directoryStore } from '../../src/stores/directory/store.js';
import { memoryStore } from '../../src/stores/memory.js';
import { assertBody, assertError, open } from '../behaviour/site.js';
import { inChunks } from '../helpers/client.js';
import type { Kind, Middleware } from '../helpers/servers.js';
import { content, temporaryDirectory } from '../stores/fixture.js';

const BYTES = content(200_000);

/** Ways in which a middleware in front of the handler reads the body of an upload. */
const CONSUMERS: Readonly<Record<string, Middleware>> = {
  'reads the whole body': (request, _response, next) => {
    void drain(request).then(() => next());
  },
  'reads the first chunk': (request, _response, next) => {
    request.once('data', () => {
      request.pause();
      next();
    });
  },
  'has a listener on data': (request, _response, next) => {
    request.on('data', () => {});
    setImmediate(() => next());
  },
  'reads at the same time': (request, _response, next) => {
    next();
    void drain(request);
  },
};

async function drain(request: NodeRequest): Promise<void> {
  try {
    for await (const _chunk of request);
  } catch {
    // The server may end the connection first.
  }
}

const KINDS = ['http', 'h2c-compat', 'express-http', 'express4-http', 'connect-http'] as const;
const FRAMEWORKS = [
  'koa-http',
  'koa-h2c',
  'koa2-http',
  'fastify-http',
  'fastify-h2c',
  'hono-http',
  'hono-h2c',
] as const;

/** Returns the codes of the errors that the handler reports. */
function errorCodesOf(t: ExecutionContext, handler: Handler): unknown[] {
  const codes: unknown[] = [];
  const onReport = (message: unknown): void => {
    const { sender, error } = message as ResponseReport;
    if (sender === handler) codes.push((error as { code?: unknown } | undefined)?.code);
  };
  diagnosticsChannel.subscribe(RESPONSE_CHANNEL, onReport);
  t.teardown(() => diagnosticsChannel.unsubscribe(RESPONSE_CHANNEL, onReport));
  return codes;
}

for (const kind of [...KINDS, ...FRAMEWORKS] satisfies readonly Kind[]) {
  test(`${kind}: an upload whose body the host has read is answered with 500 and not stored`, async (t) => {
    for (const [name, consume] of Object.entries(CONSUMERS)) {
      // A second consumer takes chunks only while the handler waits for them.
      for (const store of [memoryStore(), await directoryStore(await temporaryDirectory(t))]) {
        const before: Middleware = (request, response, next) =>
          request.method === 'PUT' ? consume(request, response, next) : next();
        const { ask, handler } = await open(t, kind, { store }, { before });
        const codes = errorCodesOf(t, handler);
        for (const body of [inChunks(BYTES), BYTES]) {
          const response = await ask('PUT', '/key', { body });
          t.is(response.status, 500, name);
          assertError(t, response, 500);
        }
        assertError(t, await ask('GET', '/key'), 404);
        t.deepEqual(codes, [...Array(2).fill('ERR_HOTBLOB_BODY_CONSUMED'), undefined], name);
      }
    }
  });
}

test('an upload is stored if a middleware has put the chunk back that it looked at', async (t) => {
  const before: Middleware = (request, _response, next) => {
    request.once('readable', () => {
      const chunk: unknown = request.read();
      if (chunk !== null) request.unshift(chunk);
      next();
    });
  };
  const { ask } = await open(t, 'http', { store: memoryStore() }, { before });
  t.is((await ask('PUT', '/key', { body: BYTES })).status, 200);
  assertBody(t, (await ask('GET', '/key')).body, BYTES);
});

test('an upload whose body the host decodes to text is answered with 500', async (t) => {
  const before: Middleware = (request, _response, next) => {
    request.setEncoding('utf8');
    next();
  };
  const { ask } = await open(t, 'http', { store: memoryStore() }, { before });
  assertError(t, await ask('PUT', '/key', { body: inChunks(BYTES) }), 500);
  assertError(t, await ask('GET', '/key'), 404);
});

test('the Fetch API: a body that the host has read or locked is answered with 500', async (t) => {
  const handler = createHandler({ store: memoryStore() });
  t.teardown(() => handler.close());
  const codes = errorCodesOf(t, handler);
  const respond = fetchHandler(handler);
  const read = new Request('http://localhost/key', { method: 'PUT', body: BYTES });
  await read.arrayBuffer();
  const locked = new Request('http://localhost/key', { method: 'PUT', body: BYTES });
  locked.body?.getReader();
  for (const request of [read, locked]) t.is((await respond(request)).status, 500);
  t.is((await respond(new Request('http://localhost/key'))).status, 404);
  t.deepEqual(codes, [...Array(2).fill('ERR_HOTBLOB_BODY_CONSUMED'), undefined]);
});
