import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import test from 'ava';
import { expressMiddleware, createSender as onExpress } from '../../src/adapters/express.js';
import { createSender as onFastify } from '../../src/adapters/fastify.js';
import { fetchHandler, createSender as onFetch } from '../../src/adapters/fetch.js';
import { honoMiddleware, createSender as onHono } from '../../src/adapters/hono.js';
import { koaMiddleware, createSender as onKoa } from '../../src/adapters/koa.js';
import { nodeListener, createSender as onNode, streamListener } from '../../src/adapters/node.js';
import { createHandler, type ExchangeHandler } from '../../src/handler/handler.js';
import type { Sender } from '../../src/handler/sender.js';
import { createServer } from '../../src/server/server.js';
import { memoryStore } from '../../src/stores/memory.js';
import { FakeExchange } from '../helpers/exchange.js';
import { refusal } from '../stores/fixture.js';

const MOUNTS: Readonly<Record<string, (handler: ExchangeHandler) => unknown>> = {
  expressMiddleware,
  koaMiddleware,
  honoMiddleware,
  fetchHandler,
  nodeListener,
  streamListener,
  createServer: (handler) => createServer(() => {}, { handler }),
};

const SENDERS: Readonly<Record<string, () => unknown>> = {
  express: onExpress,
  koa: onKoa,
  fastify: onFastify,
  hono: onHono,
  node: onNode,
  fetch: onFetch,
};

/** Values that are easily passed in place of a handler. */
const NO_HANDLERS: Readonly<Record<string, unknown>> = {
  'a store': memoryStore(),
  'the function that creates handlers': createHandler,
  'a sender': onExpress(),
  'a promise of a handler': Promise.resolve(createHandler({ store: memoryStore() })),
  null: null,
};

/** What to do about some of these values. */
const REMEDIES: readonly (readonly [value: unknown, remedy: RegExp])[] = [
  [{ store: memoryStore() }, /^handler: expected the result of createHandler\(\) \(call it with these options\), /],
  [memoryStore(), /\(call it with \{ store \}\)/],
  [Promise.resolve({}), /\(await the promise\)/],
];

for (const [name, mount] of Object.entries(MOUNTS)) {
  test(`${name} rejects a value that is not a handler when it is mounted`, (t) => {
    for (const [mistake, value] of Object.entries(NO_HANDLERS)) {
      t.throws(
        () => mount(value as ExchangeHandler),
        refusal('ERR_HOTBLOB_INVALID_OPTION', /^handler: expected /),
        mistake,
      );
    }
    for (const [value, remedy] of REMEDIES) t.throws(() => mount(value as ExchangeHandler), { message: remedy });
    t.notThrows(() => mount(createHandler({ store: memoryStore() })));
  });
}

for (const [name, create] of Object.entries(SENDERS)) {
  test(`a sender of ${name} rejects the arguments of another framework, and names what it expects`, async (t) => {
    const hot = create() as unknown as Sender<unknown[]>;
    t.teardown(() => hot.close());
    const artifact = { kind: 'bytes', bytes: Buffer.from('a') } as const;
    const request = Object.assign(new IncomingMessage(new Socket()), { url: '/' });
    const response = new ServerResponse(request);
    const routes: Record<string, unknown[]> = {
      express: [request, response],
      koa: [{ req: request, res: response }],
      fastify: [{ raw: request }, { raw: response }],
      hono: [{ req: { url: 'http://a/' }, env: { incoming: request, outgoing: response }, res: new Response() }],
      fetch: [new Request('http://a/')],
      nothing: [],
    };
    for (const [framework, route] of Object.entries(routes)) {
      if (framework === name || (framework === 'express' && name === 'node')) continue;
      for (const method of ['send', 'trySend'] as const) {
        const error = await t.throwsAsync(hot[method](...route, artifact), undefined, framework);
        t.like(error, { code: 'ERR_HOTBLOB_INVALID_OPTION' }, `${framework}: ${error}`);
        t.regex(
          error?.message ?? '',
          /^(?:arguments|context\.env): expected .*(?:Express|node:http|Koa|Fastify|Hono|Fetch|hono)/,
        );
      }
    }
    // The artifact in the first place, the path of a file instead of an artifact, and no artifact.
    const own = routes[name === 'node' ? 'express' : name] ?? [];
    const untyped = hot.send as (...values: unknown[]) => Promise<unknown>;
    await t.throwsAsync(untyped(artifact, ...own), { message: /^arguments: expected .* in this order/ });
    const path = await t.throwsAsync(untyped(...own, '/path'), { code: 'ERR_HOTBLOB_INVALID_ARTIFACT' });
    t.regex(path?.message ?? '', /expected the result of fileArtifact\(\), .*received '\/path'/);
  });
}

test('createHandler tells that a store must be awaited', (t) => {
  const store = Promise.resolve(memoryStore());
  t.throws(
    // @ts-expect-error: a caller without types
    () => createHandler({ store }),
    refusal(
      'ERR_HOTBLOB_INVALID_OPTION',
      /^store: expected a store, received a promise; await the function that opens the store$/,
    ),
  );
});

test('send names the value that is not an artifact', async (t) => {
  const handler = createHandler({ store: memoryStore() });
  t.teardown(() => handler.close());
  for (const [value, received] of [
    [undefined, 'undefined'],
    ['/path', "'/path'"],
    [{ kind: 'files' }, "kind: 'files'"],
  ] as const) {
    const error = await t.throwsAsync(handler.send(new FakeExchange('/'), value as never));
    t.regex(String(error), new RegExp(`expected the result of fileArtifact\\(\\).*received .*${received}`));
  }
});
