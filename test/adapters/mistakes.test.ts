import test from 'ava';
import { expressMiddleware, createSender as onExpress } from '../../src/adapters/express.js';
import { fetchHandler } from '../../src/adapters/fetch.js';
import { honoMiddleware } from '../../src/adapters/hono.js';
import { koaMiddleware } from '../../src/adapters/koa.js';
import { nodeListener, streamListener } from '../../src/adapters/node.js';
import { createHandler, type ExchangeHandler } from '../../src/handler/handler.js';
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

/** Values that are easily passed in place of a handler. */
const NO_HANDLERS: Readonly<Record<string, unknown>> = {
  'a store': memoryStore(),
  'the function that creates handlers': createHandler,
  'a sender': onExpress(),
  'a promise of a handler': Promise.resolve(createHandler({ store: memoryStore() })),
  null: null,
};

for (const [name, mount] of Object.entries(MOUNTS)) {
  test(`${name} rejects a value that is not a handler when it is mounted`, (t) => {
    for (const [mistake, value] of Object.entries(NO_HANDLERS)) {
      t.throws(
        () => mount(value as ExchangeHandler),
        refusal('ERR_HOTBLOB_INVALID_OPTION', /^handler: expected /),
        mistake,
      );
    }
    t.notThrows(() => mount(createHandler({ store: memoryStore() })));
  });
}

test('createHandler tells that a store must be awaited', (t) => {
  const store = Promise.resolve(memoryStore());
  t.throws(
    // @ts-expect-error: a caller without types
    () => createHandler({ store }),
    refusal(
      'ERR_HOTBLOB_INVALID_OPTION',
      /^store: expected a store; await the function that opens it, received Promise/,
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
    const { cause } = error as Error;
    t.regex(String(cause), new RegExp(`expected the result of fileArtifact\\(\\).*received .*${received}`));
  }
});
