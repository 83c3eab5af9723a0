import assert from 'node:assert';
import http, { IncomingMessage, ServerResponse } from 'node:http';
import https from 'node:https';
import { Socket } from 'node:net';
import { inspect } from 'node:util';
import test from 'ava';
import { expressMiddleware, createSender as onExpress } from '../../src/adapters/express.js';
import { fastifyPlugin, createSender as onFastify } from '../../src/adapters/fastify.js';
import { fetchHandler, createSender as onFetch } from '../../src/adapters/fetch.js';
import { honoMiddleware, createSender as onHono } from '../../src/adapters/hono.js';
import { koaMiddleware, createSender as onKoa } from '../../src/adapters/koa.js';
import { nodeListener, createSender as onNode, streamListener } from '../../src/adapters/node.js';
import { createHandler, type ExchangeHandler } from '../../src/handler/handler.js';
import type { Sender } from '../../src/handler/sender.js';
import { nx } from '../../src/protocols/nx.js';
import { createServer } from '../../src/server/server.js';
import { memoryStore } from '../../src/stores/memory.js';
import { tieredStore } from '../../src/stores/tiered/store.js';
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

const CALLS: readonly (readonly [mistake: string, call: () => unknown, message: RegExp])[] = [
  [
    'a path as store',
    () => createHandler({ store: './artifacts' as never }),
    /^store: expected a store, such as await directoryStore\(dir\), received '\.\/artifacts'$/,
  ],
  ...[new Map(), new WeakMap(), new URLSearchParams(), new Headers(), new FormData()].map((store) => {
    const { name } = store.constructor;
    const message = `^store: expected a store, such as memoryStore\\(\\) or await directoryStore\\(dir\\), received a ${name}$`;
    return [`a ${name} as store`, () => createHandler({ store: store as never }), new RegExp(message)] as const;
  }),
  [
    'a handler as options of http.createServer',
    () => http.createServer(createHandler({ store: memoryStore() }) as never),
    /^createServer of node:http: expected a listener, received a handler; use createServer\(nodeListener\(handler\)\) with /,
  ],
  [
    'a handler as options of https.createServer',
    () => https.createServer(createHandler({ store: memoryStore() }) as never),
    /^createServer of node:https: expected a listener, received a handler; use createServer\(nodeListener\(handler\)\) with /,
  ],
  [
    'a protocol that was not called',
    () => createHandler({ store: memoryStore(), protocols: [nx as never] }),
    /^protocols\[0\]: expected a protocol, such as nx\(\), received \[Function: nx\]$/,
  ],
  [
    'one protocol',
    () => createHandler({ store: memoryStore(), protocols: nx() as never }),
    /^protocols: expected an array of protocols, such as \[nx\(\)\], /,
  ],
  [
    'a pattern as mount path',
    () => createHandler({ store: memoryStore(), mountPath: '/cache/*' }),
    /^mountPath: expected a path that starts with "\/" and has no "\*", received /,
  ],
  [
    'a handler as options of a sender',
    () => onExpress(createHandler({ store: memoryStore() }) as never),
    /^options: expected the options of a sender; a handler has a method send itself, received /,
  ],
  [
    'a promise as access policy',
    () => createHandler({ store: memoryStore(), access: Promise.resolve() as never }),
    /^access: expected a function: the result of staticTokens\(\) or of await tokenFile\(\), or your own, received an object$/,
  ],
  [
    'expressMiddleware as middleware',
    () => expressMiddleware(new IncomingMessage(new Socket()) as never),
    /\(call this function with it, and pass the result to app\.use\(\)\)/,
  ],
];

for (const [mistake, call, message] of CALLS) {
  test(`${mistake} is refused with a remedy`, (t) => {
    t.throws(call, { message });
  });
}

test('copies, JSON, inspection and comparison of a handler do not count as such a mistake', (t) => {
  const handler = createHandler({ store: memoryStore() });
  t.teardown(() => handler.close());
  t.deepEqual(Object.keys({ ...handler }), []);
  t.is(JSON.stringify(handler), '{}');
  t.regex(inspect(handler, { showHidden: true, getters: false }), /CacheHandler/);
  t.notThrows(() => assert.deepStrictEqual(handler, handler));
  t.throws(() => assert.deepStrictEqual(handler, {}), { name: 'AssertionError' });
  t.notThrows(() => structuredClone({ ...handler }));
});

test('a token as access policy is refused without showing it', (t) => {
  const error = t.throws(() => createHandler({ store: memoryStore(), access: 'secret-0123456789' as never }));
  t.regex(String(error?.message), /^access: expected a function: .*received a string \(not shown\)$/);
});

test('fastifyPlugin that is called instead of registered is refused with a remedy', async (t) => {
  const handler = createHandler({ store: memoryStore() });
  t.teardown(() => handler.close());
  const plugin = fastifyPlugin as (handler: unknown) => Promise<void>;
  await t.throwsAsync(plugin(handler), { message: /expected app\.register\(fastifyPlugin, \{ handler \}\)/ });
});

test('a promise as local store is refused with a remedy', async (t) => {
  const local = Promise.resolve(memoryStore()) as never;
  await t.throwsAsync(tieredStore({ local, remote: memoryStore() }), {
    message: 'local: expected a store, received a promise; await the function that opens the store',
  });
});
