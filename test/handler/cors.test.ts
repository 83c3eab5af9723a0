import test from 'ava';
import { createHandler } from '../../src/handler/handler.js';
import { memoryStore } from '../../src/stores/memory.js';
import { request } from '../helpers/client.js';
import { startServer } from '../helpers/servers.js';
import { put } from '../stores/fixture.js';

const ORIGIN = 'https://a.example';

for (const kind of ['http', 'h2c', 'express-http', 'fetch-http'] as const) {
  test(`${kind}: the origins of a handler do not apply to the next handler`, async (t) => {
    const [first, second] = [memoryStore(), memoryStore()];
    await put(first, 'first', 'a');
    await put(second, 'second', 'b');
    const front = createHandler({ store: first, cors: [ORIGIN], fallthrough: true });
    const back = createHandler({ store: second });
    const server = await startServer(t, kind, {
      handle: async (exchange) => (await front.handle(exchange)) || back.handle(exchange),
    });
    t.teardown(() => {
      front.close();
      back.close();
    });
    const headersOf = async (path: string) => (await request(server, { path, headers: { origin: ORIGIN } })).headers;
    t.like(await headersOf('/first'), { 'access-control-allow-origin': ORIGIN, vary: 'origin' });
    for (const path of ['/second', '/missing']) {
      const headers = await headersOf(path);
      t.is(headers['access-control-allow-origin'], undefined, path);
      t.is(headers.vary, undefined, path);
    }
  });
}
