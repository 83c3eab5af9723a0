import test from 'ava';
import type { Store } from '../../src/contract/store.js';
import { createHandler } from '../../src/handler/handler.js';
import { directoryStore } from '../../src/stores/directory/store.js';
import { memoryStore } from '../../src/stores/memory.js';
import { request } from '../helpers/client.js';
import { temporaryDirectory } from '../helpers/files.js';
import { startServer } from '../helpers/servers.js';

/** Wraps a store and counts the calls of its methods. */
function countCalls(store: Store): { readonly store: Store; readonly calls: Record<'get' | 'put' | 'delete', number> } {
  const calls = { get: 0, put: 0, delete: 0 };
  return {
    calls,
    store: {
      get: (key, options) => {
        calls.get++;
        return store.get(key, options);
      },
      put: async (key, body, options) => {
        calls.put++;
        if (store.put === undefined) throw new Error('the store has no put()');
        return store.put(key, body, options);
      },
      delete: async (key) => {
        calls.delete++;
        return (await store.delete?.(key)) ?? false;
      },
    },
  };
}

test('an upload and a deletion make no lookup, which would change the eviction order', async (t) => {
  const { store, calls } = countCalls(memoryStore());
  const server = await startServer(t, 'http', createHandler({ store }));
  t.is((await request(server, { method: 'PUT', path: '/key', body: Buffer.from('one') })).status, 200);
  t.is((await request(server, { method: 'PUT', path: '/key', body: Buffer.from('two') })).status, 200);
  t.is((await request(server, { method: 'DELETE', path: '/key' })).status, 204);
  t.deepEqual(calls, { get: 0, put: 2, delete: 1 });
});

test('a replaced or deleted file is not sent again, even if its descriptor is still open', async (t) => {
  const directory = await temporaryDirectory(t);
  const store = await directoryStore(directory, { immutable: true });
  t.teardown(() => store.close());
  const server = await startServer(t, 'http', createHandler({ store }));
  for (const text of ['first', 'second', 'third']) {
    t.is((await request(server, { method: 'PUT', path: '/key', body: Buffer.from(text) })).status, 200);
    t.is((await request(server, { path: '/key' })).body.toString(), text);
  }
  t.is((await request(server, { method: 'DELETE', path: '/key' })).status, 204);
  t.is((await request(server, { path: '/key' })).status, 404);
});
