import test from 'ava';
import { memoryStore } from '../../src/stores/memory.js';
import { open } from '../behaviour/site.js';
import { Frames } from '../helpers/frames.js';
import { until } from '../helpers/poll.js';

const EMPTY = 'sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:';
const WRONG = `sha-256=:${Buffer.alloc(32).toString('base64')}:`;
const UNKNOWN = 'md5=:AAAA:';

// node:http2 keeps only the first of some repeated fields.
for (const kind of ['h2c', 'h2c-compat', 'koa-h2c', 'fastify-h2c', 'hono-h2c', 'port-h2c', 'port-front-h2c'] as const) {
  test(`${kind}: repeated fields of an upload count as one list`, async (t) => {
    const store = memoryStore();
    const { server } = await open(t, kind, { store });
    const client = await Frames.connect(t, server);
    let id = -1;
    const upload = async (...fields: (readonly [string, string])[]): Promise<void> => {
      id += 2;
      client.begin(id, 'PUT', '/key', fields);
      client.end(id);
      const stream = client.stream(id);
      await until('the upload is answered', () => stream.isEnded);
    };
    for (const name of ['content-digest', 'repr-digest']) {
      await upload([name, UNKNOWN], [name, WRONG]);
      t.is(store.get('key'), undefined, name);
    }
    await upload(['content-digest', WRONG], ['content-digest', EMPTY]);
    t.not(store.get('key'), undefined, 'the last digest counts');
    await upload(['content-encoding', 'gzip'], ['content-encoding', 'br']);
    t.is(store.get('key')?.contentEncoding, 'gzip, br');
    const etag = store.get('key')?.etag ?? '';
    await upload(['if-none-match', '"other"'], ['if-none-match', etag]);
    t.is(store.get('key')?.contentEncoding, 'gzip, br', 'the second tag of If-None-Match counts');
    await upload(['if-match', '"other"'], ['if-match', etag]);
    t.is(store.get('key')?.contentEncoding, undefined, 'the second tag of If-Match counts');
  });
}
