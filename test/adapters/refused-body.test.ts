import test from 'ava';
import type { Store } from '../../src/contract/store.js';
import { open } from '../behaviour/site.js';
import { Frames } from '../helpers/frames.js';
import { until } from '../helpers/poll.js';

// If the handler responds before the request body has arrived, the client receives the whole response before RST_STREAM.

const store: Store = {
  get: () => Promise.reject(new Error('broken')),
  put: () => Promise.reject(Object.assign(new Error('full'), { code: 'ENOSPC' })),
};

for (const kind of ['h2c', 'h2c-compat', 'h2', 'port-h2c'] as const) {
  for (const method of ['HEAD', 'GET', 'PUT', 'POST']) {
    test(`${kind}: the response to an unfinished ${method} request arrives before the reset`, async (t) => {
      const { server } = await open(t, kind, { store });
      const client = await Frames.connect(t, server);
      const stream = client.stream(1);
      client.begin(1, method, '/key');
      await until('the request is reset', () => stream.resetCode !== undefined);
      t.is(stream.resetCode, 0);
      t.true(stream.hasHeaders && stream.isEnded);
      t.is(stream.body.byteLength === 0, method === 'HEAD');
    });
  }
}
