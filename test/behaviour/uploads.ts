import { createHash } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { Readable } from 'node:stream';
import test from 'ava';
import type { Store } from '../../src/contract/store.js';
import { directoryStore } from '../../src/stores/directory/store.js';
import { memoryStore } from '../../src/stores/memory.js';
import { inChunks } from '../helpers/client.js';
import type { Kind } from '../helpers/servers.js';
import { content, entriesBelow, temporaryDirectory } from '../stores/fixture.js';
import { assertBody, assertError, open, productTestIn, type Scope } from './site.js';

/** Yields chunks until the consumer stops. */
async function* endless(): AsyncGenerator<Buffer> {
  for (;;) {
    yield Buffer.alloc(65_536);
    // Lets the event loop process the client's socket between two chunks.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Yields one chunk, then never continues. */
async function* stalling(first: Buffer): AsyncGenerator<Buffer> {
  yield first;
  await new Promise(() => {});
}

const digestOf = (bytes: Buffer) => `sha-256=:${createHash('sha256').update(bytes).digest('base64')}:`;

export function uploads(kind: Kind, scope: Scope): void {
  const productTest = productTestIn(scope);
  productTest(`${kind}: an upload with a digest that does not match is answered with 400 and not stored`, async (t) => {
    const { ask } = await open(t, kind, { store: memoryStore() });
    const body = content(300_000);
    const others = content(300_000, 1);
    for (const [header, status] of [
      ['sha-256=:AAAA:', 400],
      ['nonsense', 400],
      [digestOf(others), 400],
      [`unixsum=:AAA=:, ${digestOf(others)}`, 400],
      [`unixsum=:AAA=:, ${digestOf(body)}`, 200],
    ] as const) {
      for (const name of ['content-digest', 'repr-digest']) {
        const put = await ask('PUT', '/key', { body, headers: { [name]: header } });
        if (status === 400) assertError(t, put, 400);
        t.is(put.status, status, header);
        t.is((await ask('GET', '/key')).status, status === 200 ? 200 : 404);
      }
    }
    assertBody(t, (await ask('GET', '/key')).body, body);
  });

  test(`${kind}: an upload can be downloaded, overwritten and deleted`, async (t) => {
    const directory = `${await temporaryDirectory(t)}/artifacts`;
    for (const store of [memoryStore(), await directoryStore(directory)]) {
      const { ask } = await open(t, kind, { store });
      const tags = new Set<unknown>();
      for (const [seed, size] of [300_000, 299_999, 0, 5, 700_000].entries()) {
        const body = content(size, seed);
        const put = await ask('PUT', '/a/key', { body });
        t.is(put.status, 200);
        t.is(put.body.byteLength, 0);
        t.is(put.headers['content-length'], '0');
        const get = await ask('GET', '/a/key');
        t.is(get.status, 200);
        assertBody(t, get.body, body);
        t.is(put.headers.etag ?? get.headers.etag, get.headers.etag);
        tags.add(get.headers.etag);
        t.is((await ask('GET', '/a/key', { headers: { 'if-none-match': String(get.headers.etag) } })).status, 304);
      }
      t.is(tags.size, 5);
      const deleted = await ask('DELETE', '/a/key');
      t.is(deleted.status, 204);
      t.is(deleted.body.byteLength, 0);
      assertError(t, await ask('GET', '/a/key'), 404);
      assertError(t, await ask('DELETE', '/a/key'), 404);
      assertError(t, await ask('DELETE', '/never'), 404);
    }
    t.deepEqual(await entriesBelow(directory), []);
  });

  test(`${kind}: an upload without Content-Length is stored`, async (t) => {
    const { ask } = await open(t, kind, { store: memoryStore() });
    const bytes = content(750_000);
    t.is((await ask('PUT', '/key', { body: inChunks(bytes) })).status, 200);
    assertBody(t, (await ask('GET', '/key')).body, bytes);
    t.is((await ask('PUT', '/empty', { body: inChunks(Buffer.alloc(0)) })).status, 200);
    t.is((await ask('GET', '/empty')).headers['content-length'], '0');
  });

  test(`${kind}: a Content-Length above maxUploadBytes is answered with 413 while the client is still sending`, async (t) => {
    const asked: string[] = [];
    const store: Store = {
      get: () => undefined,
      async put(key) {
        asked.push(key);
        return { created: true };
      },
    };
    const { ask } = await open(t, kind, { store, maxUploadBytes: 1000 });
    const headers = { 'content-length': 1001 };
    assertError(t, await ask('PUT', '/key', { headers, body: stalling(Buffer.alloc(10)) }), 413);
    assertError(t, await ask('PUT', '/key', { headers: { 'content-length': 10 ** 12 }, body: endless() }), 413);
    t.deepEqual(asked, []);
  });

  test(`${kind}: a body that exceeds maxUploadBytes is answered with 413 during the upload and not stored`, async (t) => {
    const directory = `${await temporaryDirectory(t)}/artifacts`;
    for (const store of [memoryStore(), await directoryStore(directory)]) {
      const { ask } = await open(t, kind, { store, maxUploadBytes: 100_000 });
      assertError(t, await ask('PUT', '/key', { body: endless() }), 413);
      assertError(t, await ask('GET', '/key'), 404);
      t.is((await ask('PUT', '/key', { body: Buffer.alloc(100_000) })).status, 200);
      t.is((await ask('DELETE', '/key')).status, 204);
    }
    t.deepEqual(await entriesBelow(directory), []);
  });

  test(`${kind}: an error of the store is answered while the client is still sending`, async (t) => {
    const store: Store = {
      get: () => undefined,
      put: () => Promise.reject(Object.assign(new Error('full'), { code: 'ENOSPC' })),
    };
    const { ask } = await open(t, kind, { store });
    assertError(t, await ask('PUT', '/key', { body: endless() }), 507);
  });

  test(`${kind}: an aborted upload stores nothing and keeps the previous artifact`, async (t) => {
    const directory = `${await temporaryDirectory(t)}/artifacts`;
    for (const store of [memoryStore(), await directoryStore(directory)]) {
      const events = new EventEmitter();
      const watched: Store = {
        get: (key, options) => store.get(key, options),
        put(key, body, options) {
          const seen = async function* () {
            for await (const chunk of body) {
              events.emit('begun');
              yield chunk;
            }
          };
          const result = store.put(key, Readable.from(seen(), { objectMode: false }), options);
          result.catch((error: unknown) => events.emit('failed', options.signal.aborted, error));
          return result;
        },
      };
      const { ask } = await open(t, kind, { store: watched });
      const before = content(1000);
      t.is((await ask('PUT', '/old', { body: before })).status, 200);
      for (const key of ['/old', '/new']) {
        for (const headers of [{}, { 'content-length': 200_000 }]) {
          const leaving = new AbortController();
          const begun = once(events, 'begun');
          const failed = once(events, 'failed');
          const body = stalling(Buffer.alloc(100_000));
          const upload = t.throwsAsync(ask('PUT', key, { headers, body, signal: leaving.signal }));
          await begun;
          leaving.abort();
          await upload;
          const [isAborted] = await failed;
          t.true(isAborted);
        }
      }
      assertError(t, await ask('GET', '/new'), 404);
      assertBody(t, (await ask('GET', '/old')).body, before);
    }
    t.deepEqual(await entriesBelow(directory), ['old']);
    t.deepEqual(await readdir(`${directory}/.hotblob/uploads`), []);
  });

  productTest(`${kind}: preconditions apply to PUT and DELETE`, async (t) => {
    const { ask } = await open(t, kind, { store: memoryStore() });
    const put = (body: string, headers: Record<string, string>) =>
      ask('PUT', '/key', { headers, body: Buffer.from(body) });
    const onlyNew = { 'if-none-match': '*' };
    assertError(t, await put('first', { 'if-match': '*' }), 412);
    t.is((await put('first', onlyNew)).status, 200);
    assertError(t, await put('second', onlyNew), 412);
    assertError(t, await ask('PUT', '/key', { headers: onlyNew, body: endless() }), 412);
    const { headers, body } = await ask('GET', '/key');
    assertBody(t, body, 'first');
    const etag = String(headers.etag);
    assertError(t, await put('second', { 'if-match': '"other"' }), 412);
    assertError(t, await put('second', { 'if-unmodified-since': 'Mon, 02 Jan 2023 10:00:00 GMT' }), 412);
    t.is((await put('second', { 'if-match': etag })).status, 200);
    assertBody(t, (await ask('GET', '/key')).body, 'second');
    assertError(t, await ask('DELETE', '/key', { headers: { 'if-match': etag } }), 412);
    t.is((await ask('DELETE', '/key', { headers: { 'if-match': '*' } })).status, 204);
    // Without the precondition the response would be 404, so the precondition is ignored (RFC 9110, 13.2.1).
    assertError(t, await ask('DELETE', '/key', { headers: { 'if-match': '*' } }), 404);
  });
}
