import { Readable } from 'node:stream';
import test from 'ava';
import { HotblobError } from '../../src/contract/errors.js';
import type { PutOptions, Store } from '../../src/contract/store.js';
import { createHandler } from '../../src/handler/handler.js';
import { bazel, ccache, gradle, metro, nx, plain, sccache, tuist, turborepo } from '../../src/protocols/index.js';
import type { Protocol } from '../../src/protocols/protocol.js';
import { directoryStore } from '../../src/stores/directory/store.js';
import { memoryStore } from '../../src/stores/memory.js';
import { request } from '../helpers/client.js';
import { temporaryDirectory } from '../helpers/files.js';
import { RawConnection } from '../helpers/raw.js';
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

const HEX = 'ab'.repeat(32);
const TEAM = 'tenant_id=a&namespace_id=b';
/** Upload requests of every protocol. */
const UPLOADS = [
  ['PUT', '/key'],
  ['PUT', `/bazel/ac/${HEX}`],
  ['PUT', `/ccache/ac/${HEX}`],
  ['PUT', `/gradle/${HEX}`],
  ['PUT', `/metro/${HEX}`],
  ['PUT', '/v1/cache/123'],
  ['PUT', '/sccache/a/b'],
  ['PUT', '/v8/artifacts/abc'],
  ['POST', `/api/cache/cas/id?${TEAM}`],
  ['PUT', `/api/cache/gradle/id?${TEAM}`],
  ['PUT', `/v1/cache/id?${TEAM}`],
  ['PUT', `/api/metro/cache/id?${TEAM}`],
] as const;
const PROTOCOLS = [bazel(), ccache(), gradle(), metro(), tuist(), nx(), sccache(), turborepo(), plain()];

for (const kind of ['http', 'h2c'] as const) {
  test(`${kind}: every protocol stores the Content-Encoding of an upload and refuses a part of an artifact`, async (t) => {
    const server = await startServer(t, kind, createHandler({ store: memoryStore(), protocols: PROTOCOLS }));
    const put = (method: string, path: string, headers: Record<string, string>) =>
      request(server, { method, path, headers, body: Buffer.from('whole') });
    for (const [method, path] of UPLOADS) {
      t.true((await put(method, path, { 'content-encoding': 'gzip' })).status < 300, path);
      t.is((await put(method, path, { 'content-range': 'bytes 2-6/7' })).status, 400, path);
      const found = await request(server, { path });
      t.is(found.body.toString(), 'whole', path);
      t.is(found.headers['content-encoding'], 'gzip', path);
      t.true((await put(method, path, { 'content-encoding': 'identity' })).status < 300, path);
      t.is((await request(server, { path })).headers['content-encoding'], undefined, path);
    }
    // A body that the protocol parses itself.
    const parsed = { method: 'POST', path: '/v8/artifacts', headers: { 'content-encoding': 'gzip' } };
    t.is((await request(server, { ...parsed, body: Buffer.from('{"hashes":[]}') })).status, 415);
  });

  test(`${kind}: an upload with If-None-Match: * leaves the decision to the store`, async (t) => {
    const seen: (boolean | undefined)[] = [];
    const store: Store = {
      get: () => undefined, // another upload stores the key after the lookup
      async put(_key, body, { ifAbsent }: PutOptions) {
        seen.push(ifAbsent);
        body.resume();
        if (ifAbsent) throw new HotblobError('ERR_HOTBLOB_EXISTS', 'key: exists');
        return { created: false };
      },
    };
    const server = await startServer(t, kind, createHandler({ store, protocols: PROTOCOLS }));
    const uploads = UPLOADS.filter(([, path]) => !path.includes('?'));
    for (const [method, path] of uploads) {
      const upload = { method, path, body: Buffer.from('body') };
      t.is((await request(server, { ...upload, headers: { 'if-none-match': '*' } })).status, 412, path);
      t.true((await request(server, { ...upload, headers: { 'if-none-match': '"a"' } })).status < 300, path);
    }
    t.deepEqual(seen, Array(uploads.length).fill([true, false]).flat());
  });
}

test('a protocol that reads the start of a stream asks for no more bytes, and gets an error if there are fewer', async (t) => {
  const ranges: unknown[] = [];
  const bytes = Buffer.from('0123456789');
  const store: Store = {
    get: (key) => ({
      kind: 'stream',
      size: key.endsWith('unknown') ? undefined : 10,
      open(range) {
        ranges.push(range);
        const [start, end] = key.endsWith('short') ? [0, 2] : [range?.start, range?.end];
        return Readable.from([bytes.subarray(start, end)]);
      },
    }),
  };
  const protocol: Protocol = {
    name: 'start',
    route: ({ path }) => ({
      kind: 'answer',
      needs: 'read',
      async answer(artifacts) {
        const found = await artifacts.read(path.slice(1), 4);
        return { status: 200, body: { contentType: 'text/plain', text: `${found}` } };
      },
    }),
  };
  const server = await startServer(t, 'http', createHandler({ store, protocols: [protocol] }));
  t.is((await request(server, { path: '/known' })).body.toString(), '0123');
  t.is((await request(server, { path: '/unknown' })).body.toString(), '0123');
  t.is((await request(server, { path: '/short' })).status, 500);
  t.deepEqual(ranges, [{ start: 0, end: 4 }, undefined, { start: 0, end: 4 }]);
});

for (const kind of ['http', 'port-http', 'https'] as const) {
  test(`${kind}: an upload with a transfer coding that is not decoded is answered with 501, and its connection is closed`, async (t) => {
    const { store, calls } = countCalls(memoryStore());
    const server = await startServer(t, kind, createHandler({ store }));
    for (const coding of ['gzip, chunked', 'identity, chunked', 'gzip\r\nTransfer-Encoding: chunked']) {
      const connection = await RawConnection.open(t, server);
      connection.write(
        `PUT /key HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: ${coding}\r\n\r\n5\r\nhello\r\n0\r\n\r\n`,
      );
      const text = await connection.closed();
      t.regex(text, /^HTTP\/1\.1 501 /, coding);
      t.regex(text, /\r\nconnection: close\r\n/i, coding);
    }
    t.deepEqual(calls, { get: 0, put: 0, delete: 0 });
  });
}
