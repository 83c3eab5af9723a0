import test from 'ava';
import { staticTokens } from '../../src/access/static-tokens.js';
import { HotblobError } from '../../src/contract/errors.js';
import type { Store } from '../../src/contract/store.js';
import { nx } from '../../src/protocols/nx.js';
import { plain } from '../../src/protocols/plain.js';
import { memoryStore } from '../../src/stores/memory.js';
import { assertBody, open } from '../behaviour/site.js';
import { content, put } from '../stores/fixture.js';
import { PROTOCOL_KINDS } from './fixture.js';

const PATH = '/v1/cache/1234567890123456789';
const KEY = 'nx/1234567890123456789';
const BODY = content(1000);

for (const kind of PROTOCOL_KINDS) {
  // Nx continues after a 403 to an upload. After most other errors, it fails the build.
  test(`${kind}: answers an upload that cannot be stored with 403 as plain text`, async (t) => {
    const all = memoryStore();
    await put(all, KEY, BODY);
    const readOnly: Store = { get: (key) => all.get(key) };
    const full: Store = {
      ...readOnly,
      put: () => Promise.reject(new HotblobError('ERR_HOTBLOB_STORAGE_FULL', 'the store is full')),
    };
    for (const options of [{ store: readOnly }, { store: full }, { store: all, maxUploadBytes: 999 }]) {
      const { ask, handler } = await open(t, kind, { ...options, protocols: [nx(), plain()] });
      for (const body of [BODY, chunks()]) {
        const refused = await ask('PUT', PATH, { body });
        t.is(refused.status, 403);
        t.is(refused.headers['content-type'], 'text/plain');
        t.not(refused.body.byteLength, 0);
      }
      assertBody(t, (await ask('GET', PATH)).body, BODY);
      t.is(handler.stats().responses[403], 2);
    }
    const { ask } = await open(t, kind, { store: readOnly, protocols: [nx(), plain()] });
    t.is((await ask('DELETE', PATH)).status, 405, 'only for uploads');
    t.is((await ask('PUT', '/key', { body: BODY })).status, 405, 'only for Nx');
  });

  test(`${kind}: sends every error as plain text without a charset`, async (t) => {
    const store = memoryStore();
    await put(store, KEY, BODY);
    const access = staticTokens([
      { token: 'reader-0123456789abcdef', level: 'read' },
      { token: 'writer-0123456789abcdef', level: 'write' },
    ]);
    const { ask } = await open(t, kind, { store, protocols: [nx()], access });
    const read = { authorization: 'Bearer reader-0123456789abcdef' };
    const write = { authorization: 'Bearer writer-0123456789abcdef' };
    for (const [method, path, headers, status] of [
      ['GET', PATH, {}, 401],
      ['PUT', PATH, {}, 401],
      ['PUT', PATH, read, 403],
      ['GET', '/v1/cache/1', read, 404],
      ['GET', '/v1/cache/a.b', read, 400],
      ['GET', PATH, { ...read, range: 'bytes=5000-' }, 416],
      ['PUT', PATH, { ...write, 'if-none-match': '*' }, 412],
    ] as const) {
      const { status: received, headers: responseHeaders } = await ask(method, path, {
        headers,
        body: method === 'PUT' ? BODY : undefined,
      });
      t.is(received, status, `${method} ${path}`);
      t.is(responseHeaders['content-type'], 'text/plain', `${status}`);
    }
    t.is((await ask('PUT', PATH, { headers: write, body: BODY })).status, 200, 'replaces an artifact');
  });
}

async function* chunks(): AsyncGenerator<Uint8Array> {
  yield BODY.subarray(0, 400);
  yield BODY.subarray(400);
}
