import { createHash } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import type { AccessDecision } from '../../src/access/policy.js';
import type { Store } from '../../src/contract/store.js';
import type { HandlerOptions } from '../../src/handler/options.js';
import { bazel, metro, nx, turborepo } from '../../src/protocols/index.js';
import { plain } from '../../src/protocols/plain.js';
import { directoryStore } from '../../src/stores/directory/store.js';
import { memoryStore } from '../../src/stores/memory.js';
import { segmentStore } from '../../src/stores/segments/store.js';
import { assertBody, open } from '../behaviour/site.js';
import type { Kind } from '../helpers/servers.js';
import { content, temporaryDirectory } from '../stores/fixture.js';

/** Access by the user name of Basic authentication, so that a request of the tests names its client. */
const GRANTS: Readonly<Record<string, AccessDecision>> = {
  main: { level: 'write', scope: 'main' },
  pr: { level: 'write', scope: 'pr/7', reads: ['main'] },
  other: { level: 'write', scope: 'pr/8', reads: ['main'] },
  own: { level: 'write', scope: 'pr/7', reads: ['pr/7', 'main'] },
  once: { level: 'write', scope: 'main', overwrite: false },
  plain: 'write',
  reader: { level: 'read', scope: 'pr/9', reads: ['default', 'main'] },
};

async function start(t: ExecutionContext, kind: Kind, store: Store, options: Omit<HandlerOptions, 'store'> = {}) {
  const protocols = [nx(), turborepo(), bazel(), metro(), plain()];
  const access = ({ credentials }: { credentials: { token: string } | undefined }): AccessDecision =>
    GRANTS[credentials?.token ?? ''] ?? 'none';
  const { ask, handler } = await open(t, kind, { store, protocols, access, ...options });
  const as = (client: string) => {
    const send = (method: string, path: string, body?: Buffer | string, headers = {}) =>
      ask(method, path, {
        headers: { authorization: `Bearer ${client}`, ...headers },
        ...(body === undefined ? {} : { body: Buffer.from(body) }),
      });
    return {
      send,
      put: async (path: string, body: Buffer | string, headers = {}) => (await send('PUT', path, body, headers)).status,
      async get(path: string) {
        const { status, body } = await send('GET', path);
        return status === 200 ? body.toString() : status;
      },
    };
  };
  return { as, handler };
}

const STORES: Readonly<Record<string, (t: ExecutionContext) => Promise<Store>>> = {
  memory: async () => memoryStore(),
  directory: async (t) => directoryStore(await temporaryDirectory(t)),
  segments: async (t) => {
    const store = await segmentStore(await temporaryDirectory(t));
    t.teardown(() => store.close());
    return store;
  },
};

for (const [storeName, createStore] of Object.entries(STORES)) {
  for (const kind of ['http', 'h2c'] as const) {
    test(`${storeName}, ${kind}: reads look through the scopes in order, and writes stay in the own scope`, async (t) => {
      const { as } = await start(t, kind, await createStore(t));
      const [main, pr, other, own, reader] = [as('main'), as('pr'), as('other'), as('own'), as('reader')];
      t.is(await pr.get('/v1/cache/1'), 404);
      t.is(await main.put('/v1/cache/1', 'of main'), 200);
      t.is(await pr.get('/v1/cache/1'), 'of main');
      t.is(await pr.put('/v1/cache/1', 'of the pull request'), 200);
      t.is(await main.get('/v1/cache/1'), 'of main');
      t.is(await pr.get('/v1/cache/1'), 'of main', 'main is first in the list');
      t.is(await own.get('/v1/cache/1'), 'of the pull request', 'the own scope is first in the list');
      t.is(await other.get('/v1/cache/1'), 'of main');
      t.is(await pr.put('/v1/cache/2', 'new'), 200);
      t.is(await pr.get('/v1/cache/2'), 'new');
      for (const client of [main, other, reader, as('plain')]) t.is(await client.get('/v1/cache/2'), 404);
      t.is((await reader.send('HEAD', '/v1/cache/1')).status, 200);
      t.is(await as('plain').get('/v1/cache/1'), 404);
      t.is(await as('plain').put('/v1/cache/3', 'default'), 200);
      t.is(await reader.get('/v1/cache/3'), 'default');
      t.is(await reader.put('/v1/cache/3', 'x'), 403);
      t.is(await as('nobody').get('/v1/cache/3'), 401);
    });
  }

  test(`${storeName}: a deletion applies only to the own scope`, async (t) => {
    const { as } = await start(t, 'http', await createStore(t));
    await as('main').put('/key', 'of main');
    await as('pr').put('/key', 'of the pull request');
    t.is((await as('other').send('DELETE', '/key')).status, 404);
    t.is((await as('pr').send('DELETE', '/key')).status, 204);
    t.is((await as('pr').send('DELETE', '/key')).status, 404);
    t.is(await as('main').get('/key'), 'of main');
    t.is(await as('pr').get('/key'), 'of main');
  });

  test(`${storeName}: the first upload of a key is kept if overwriting is not allowed`, async (t) => {
    const { as } = await start(t, 'http', await createStore(t));
    const once = as('once');
    const large = content(3_000_000);
    t.is(await once.put('/v1/cache/1', 'first'), 200);
    t.is(await once.put('/v1/cache/1', large), 409);
    t.is(await once.put('/metro/abababababababababababababababababababab', 'first'), 200);
    t.is(await once.put('/metro/abababababababababababababababababababab', large), 200);
    t.is(await once.get('/v1/cache/1'), 'first');
    t.is(await once.get('/metro/abababababababababababababababababababab'), 'first');
    t.is((await once.send('PUT', '/other', 'x', { 'if-none-match': '*' })).status, 200);
    t.is((await once.send('PUT', '/other', 'y', { 'if-none-match': '*' })).status, 412);
    t.is((await once.send('DELETE', '/other')).status, 403);
    t.is(await once.get('/other'), 'x');
    t.is(await as('main').put('/v1/cache/1', 'again'), 200);
    t.is(await as('main').get('/v1/cache/1'), 'again');
  });

  test(`${storeName}: of overlapping uploads without overwriting, exactly one is kept and all succeed`, async (t) => {
    const { as } = await start(t, 'http', await createStore(t));
    const bodies = [content(200_000, 1), content(200_000, 2), content(200_000, 3), content(200_000, 4)];
    const statuses = await Promise.all(
      bodies.map((body) => as('once').put('/metro/abababababababababababababababababababab', body)),
    );
    t.deepEqual(statuses, [200, 200, 200, 200]);
    const { body: kept } = await as('main').send('GET', '/metro/abababababababababababababababababababab');
    t.true(bodies.some((body) => body.equals(kept)));
    t.is(await as('once').put('/metro/abababababababababababababababababababab', 'later'), 200);
    assertBody(t, (await as('main').send('GET', '/metro/abababababababababababababababababababab')).body, kept);
  });
}

test('a query for several artifacts and an action result see the readable scopes', async (t) => {
  const { as } = await start(t, 'http', memoryStore());
  await as('main').put('/v8/artifacts/a1?slug=team', 'of main');
  await as('other').put('/v8/artifacts/b2?slug=team', 'of another pull request');
  await as('pr').put('/v8/artifacts/c3?slug=team', 'own');
  const query = JSON.stringify({ hashes: ['a1', 'b2', 'c3'] });
  const { body } = await as('pr').send('POST', '/v8/artifacts?slug=team', query);
  const found = JSON.parse(body.toString());
  t.is(found.a1.size, 7);
  t.is(found.b2, null);
  t.is(found.c3.size, 3);

  const blob = Buffer.from('the blob');
  const hash = createHash('sha256').update(blob).digest('hex');
  // ActionResult.output_files (2): OutputFile { path (1), digest (2): Digest { hash (1), size_bytes (2) } }
  const field = (number: number, bytes: Buffer) =>
    Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
  const digest = Buffer.concat([field(1, Buffer.from(hash)), Buffer.from([2 << 3, blob.length])]);
  const result = field(2, Buffer.concat([field(1, Buffer.from('out')), field(2, digest)]));
  const path = `/bazel/ac/${'ab'.repeat(32)}`;
  t.is(await as('pr').put(path, result), 200);
  t.is(await as('pr').get(path), 404, 'the blob is missing');
  await as('other').put(`/bazel/cas/${hash}`, blob);
  t.is(await as('pr').get(path), 404, 'only another pull request has the blob');
  await as('main').put(`/bazel/cas/${hash}`, blob);
  t.is(await as('pr').get(path), result.toString());
  t.is(await as('main').get(path), 404);
});

test('a content-addressed artifact is kept, with any access and without a policy', async (t) => {
  let uploads = 0;
  const inner = memoryStore();
  const store: Store = {
    get: (key) => inner.get(key),
    put(key, body, options) {
      uploads++;
      return inner.put(key, body, options);
    },
  };
  const { as } = await start(t, 'http', store);
  const hash = createHash('sha256').update('blob').digest('hex');
  t.is(await as('plain').put(`/bazel/cas/${hash}`, 'blob'), 200);
  t.is(await as('plain').put(`/bazel/cas/${hash}`, 'blob'), 200);
  t.is(uploads, 1);
  t.is(await as('plain').put(`/bazel/cas/${hash}`, 'forged'), 400, 'the digest is still checked');
  t.is(await as('plain').put(`/bazel/blake3/cas/${'1'.repeat(64)}`, 'first'), 200);
  t.is(await as('plain').put(`/bazel/blake3/cas/${'1'.repeat(64)}`, 'second'), 200);
  t.is(await as('plain').get(`/bazel/blake3/cas/${'1'.repeat(64)}`), 'first');
});

test('an upload that is kept once does not fail because its lookup fails', async (t) => {
  const inner = memoryStore();
  let fails = true;
  const store: Store = {
    get: (key) => (fails ? Promise.reject(new Error('get')) : inner.get(key)),
    put: (key, body, options) => inner.put(key, body, options),
  };
  const { as } = await start(t, 'http', store);
  const hash = createHash('sha256').update('blob').digest('hex');
  t.is(await as('plain').put(`/bazel/cas/${hash}`, 'blob'), 200);
  t.is(await as('plain').put(`/bazel/cas/${hash}`, 'blob'), 200, 'the store keeps the first one');
  fails = false;
  t.is(await as('plain').get(`/bazel/cas/${hash}`), 'blob');
});

test('preconditions of a write are about the own scope, those of a read about what the read sends', async (t) => {
  const { as } = await start(t, 'http', memoryStore());
  await as('main').put('/key', 'of main');
  const { headers } = await as('pr').send('GET', '/key');
  t.is((await as('pr').send('GET', '/key', undefined, { 'if-none-match': headers.etag })).status, 304);
  t.is(await as('pr').put('/key', 'own', { 'if-match': headers.etag }), 412);
  t.is(await as('pr').put('/key', 'own', { 'if-none-match': '*' }), 200);
  t.is(await as('pr').put('/key', 'own', { 'if-none-match': '*' }), 412);
  t.is(await as('main').get('/key'), 'of main');
});

test('the names of a scope do not lead to the artifacts of another', async (t) => {
  const { as } = await start(t, 'http', memoryStore());
  await as('main').put('/key', 'of main');
  for (const path of [
    '/.scopes/main/key',
    '/.SCOPES/main/key',
    '/%2escopes/main/key',
    '/.scopes%2Fmain%2Fkey',
    '/.scopes',
    '/.scopes/',
    '//.scopes/main/key',
    // File systems that ignore case, or invisible characters, take these names for `.scopes`.
    '/.%C5%BFcopes/main/key',
    '/.sco%E2%80%8Dpes/main/key',
    '/x/../.scopes/main/key',
  ]) {
    for (const client of ['plain', 'pr', 'main']) {
      t.is(await as(client).get(path), 400, `${client}: ${path}`);
      t.is(await as(client).put(path, 'poison'), 400, `${client}: ${path}`);
      t.is((await as(client).send('DELETE', path)).status, 400, `${client}: ${path}`);
    }
  }
  t.is(await as('main').get('/key'), 'of main');
});

test('a key that is too long in one scope is found in another', async (t) => {
  const long = { level: 'write', scope: 'x'.repeat(200), reads: ['x'.repeat(200), 'main'] } as const;
  const grants: Readonly<Record<string, AccessDecision>> = { ...GRANTS, long };
  const access = ({ credentials }: { credentials: { token: string } | undefined }): AccessDecision =>
    grants[credentials?.token ?? ''] ?? 'none';
  const { as } = await start(t, 'http', memoryStore(), { access });
  const path = `/${'k'.repeat(900)}`;
  t.is(await as('long').get(path), 404);
  t.is(await as('main').put(path, 'of main'), 200);
  t.is(await as('long').get(path), 'of main');
  t.is(await as('long').put(path, 'own'), 414);
  t.is((await as('long').send('DELETE', path)).status, 414);
});

test('a shared cache may not store what a client with scopes receives', async (t) => {
  const options = { cacheControl: 'public, max-age=60, s-maxage=600, immutable' };
  const { as } = await start(t, 'http', memoryStore(), options);
  for (const client of ['main', 'plain']) await as(client).put('/key', 'x');
  const receives = async (client: string, headers = {}) =>
    (await as(client).send('GET', '/key', undefined, headers)).headers;
  t.is((await receives('plain'))['cache-control'], `${options.cacheControl}, no-transform`);
  for (const client of ['main', 'pr', 'reader']) {
    const { 'cache-control': cacheControl, etag } = await receives(client);
    t.is(cacheControl, 'private, max-age=60, immutable, no-transform');
    t.is((await receives(client, { 'if-none-match': etag }))['cache-control'], cacheControl);
  }
});

test('a lookup in a chain of scopes counts once', async (t) => {
  const { as, handler } = await start(t, 'http', memoryStore());
  await as('main').put('/key', 'of main');
  await as('reader').get('/key');
  await as('reader').get('/missing');
  t.like(handler.stats(), { hits: 1, misses: 1 });
});

test('an artifact has the name of its writer, which is never sent', async (t) => {
  for (const store of [memoryStore(), await directoryStore(await temporaryDirectory(t))]) {
    const access = (): AccessDecision => ({ level: 'write', scope: 'main', subject: 'repo:acme/web' });
    const { as } = await start(t, 'http', store, { access });
    t.is(await as('main').put('/v1/cache/1', 'body'), 200);
    const found = await store.get('.scopes/main/nx/1', { signal: new AbortController().signal });
    t.is(found?.subject, 'repo:acme/web');
    const { headers, body } = await as('main').send('GET', '/v1/cache/1');
    t.false(`${JSON.stringify(headers)}${body}`.includes('acme'));
  }
});

test('successful uploads are counted by client, and the number of clients is bounded', async (t) => {
  const access = ({ credentials }: { credentials: { token: string } | undefined }): AccessDecision => ({
    level: 'write',
    scope: `pr/${credentials?.token}`,
    subject: `client ${credentials?.token}`,
  });
  const { as, handler } = await start(t, 'http', memoryStore(), { access });
  await as('1').put('/a', 'x');
  await as('1').put('/b', 'x');
  await as('1').put('/c', 'x', { 'content-digest': 'sha-256=:AAAA:' });
  await as('1').get('/a');
  t.deepEqual(handler.stats().writers, [{ subject: 'client 1', scope: 'pr/1', count: 2 }]);
  for (let number = 2; number <= 102; number++) await as(`${number}`).put('/a', 'x');
  const { writers } = handler.stats();
  t.is(writers.length, 101);
  t.deepEqual(writers.at(-1), { subject: '*', scope: '*', count: 2 });
});

test('a grant that is not valid is answered with 500', async (t) => {
  const invalid = [
    { level: 'write', scope: '..' },
    { level: 'write', scope: '' },
    { level: 'write', scope: 'x'.repeat(10_000) },
    { level: 'write', reads: ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'] },
    { level: 'write', reads: 'main' },
    { level: 'write', overwrite: 'no' },
    { level: 'write', subject: 1 },
  ];
  for (const grant of invalid) {
    const { as } = await start(t, 'http', memoryStore(), { access: () => grant as never });
    t.is(await as('main').put('/key', 'x'), 500, JSON.stringify(grant).slice(0, 60));
    t.is(await as('main').get('/key'), 500);
  }
});
