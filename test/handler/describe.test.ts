import { once } from 'node:events';
import { Readable } from 'node:stream';
import test from 'ava';
import type { Store } from '../../src/contract/store.js';
import { createHandler } from '../../src/handler/handler.js';
import { turborepo } from '../../src/protocols/turborepo.js';
import { request } from '../helpers/client.js';
import { startServer } from '../helpers/servers.js';

test('the lookup for a description is aborted once the description is known', async (t) => {
  // Like a remote store with one connection: a lookup waits until the response of the one before is not needed.
  let lookups = 0;
  let previous: AbortSignal | undefined;
  const store: Store = {
    get: async (_key, { signal }) => {
      lookups++;
      if (previous !== undefined && !previous.aborted) await once(previous, 'abort');
      previous = signal;
      return { kind: 'stream', size: 1, open: async () => Readable.from(['x']) };
    },
  };
  const server = await startServer(t, 'http', createHandler({ store, protocols: [turborepo()] }));
  const body = Buffer.from(JSON.stringify({ hashes: ['0123456789abcdef', '0123456789abcde0', '0123456789abcde1'] }));
  const headers = { 'content-type': 'application/json' };
  const { status } = await request(server, { method: 'POST', path: '/v8/artifacts', headers, body });
  t.is(status, 200);
  t.is(lookups, 3);
});
