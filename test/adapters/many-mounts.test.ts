import test from 'ava';
import connect from 'connect';
import express from 'express';
import express4 from 'express4';
import Koa from 'koa';
import { expressMiddleware } from '../../src/adapters/express.js';
import { koaMiddleware } from '../../src/adapters/koa.js';
import { nodeListener } from '../../src/adapters/node.js';
import type { Store } from '../../src/contract/store.js';
import { createHandler, type Handler } from '../../src/handler/handler.js';
import { assertBody } from '../behaviour/site.js';
import { request } from '../helpers/client.js';
import { HOST_BODY, type Listener } from '../helpers/mounts.js';
import { type Kind, startListener } from '../helpers/servers.js';
import { content } from '../stores/fixture.js';

const BYTES = content(100_000);
/** More than the 10 listeners that an EventEmitter accepts without a warning. */
const MOUNTS = 15;

/** Returns a store with one artifact. It adds a listener to the signal, as a store with an upstream does. */
function storeWith(name: string): Store {
  return {
    async get(key, { signal }) {
      signal.addEventListener('abort', () => {});
      return key === name ? { kind: 'bytes', bytes: BYTES } : undefined;
    },
  };
}

const APPLICATIONS: Readonly<Record<string, [readonly Kind[], (handlers: readonly Handler[]) => unknown]>> = {
  connect: [
    ['http', 'h2-compat'],
    (handlers) => {
      const app = connect();
      for (const handler of handlers) app.use('/cache', nodeListener(handler));
      return app.use((_request, response) => void response.end(HOST_BODY));
    },
  ],
  'Express 5': [
    ['http'],
    (handlers) => {
      const app = express();
      for (const handler of handlers) app.use('/cache', expressMiddleware(handler));
      return app.use((_request, response) => void response.end(HOST_BODY));
    },
  ],
  'Express 4': [
    ['http'],
    (handlers) => {
      const app = express4();
      for (const handler of handlers) app.use('/cache', expressMiddleware(handler));
      return app.use((_request, response) => void response.end(HOST_BODY));
    },
  ],
  Koa: [
    ['http', 'h2-compat'],
    (handlers) => {
      const app = new Koa();
      app.use((context, next) => {
        context.req.url = context.req.url?.replace(/^\/cache/, '');
        return next();
      });
      for (const handler of handlers) app.use(koaMiddleware(handler));
      app.use((context) => {
        context.body = HOST_BODY;
      });
      return app.callback();
    },
  ],
};

for (const [name, [kinds, create]] of Object.entries(APPLICATIONS)) {
  for (const kind of kinds) {
    test.serial(
      `${name} on ${kind}: ${MOUNTS} mounted handlers pass requests on without a MaxListenersExceededWarning`,
      async (t) => {
        const warnings: Error[] = [];
        const onWarning = (warning: Error): void => void warnings.push(warning);
        process.on('warning', onWarning);
        t.teardown(() => process.off('warning', onWarning));
        const handlers = Array.from({ length: MOUNTS }, (_, index) =>
          createHandler({ store: storeWith(`key${index}`), fallthrough: true }),
        );
        t.teardown(() => {
          for (const handler of handlers) handler.close();
        });
        const server = await startListener(t, kind, create(handlers) as Listener);
        for (const index of [0, 7, MOUNTS - 1]) {
          const { status, body } = await request(server, { path: `/cache/key${index}` });
          t.is(status, 200);
          assertBody(t, body, BYTES);
        }
        t.is((await request(server, { path: '/cache/none' })).body.toString(), HOST_BODY);
        // Node emits warnings on a later tick.
        await new Promise(setImmediate);
        t.deepEqual(warnings, []);
      },
    );
  }
}
