import { createHash } from 'node:crypto';
import test from 'ava';
import fc from 'fast-check';
import { staticTokens } from '../../src/access/static-tokens.js';
import type { Operation, Protocol, ProtocolArtifacts } from '../../src/protocols/protocol.js';
import { tuist } from '../../src/protocols/tuist/tuist.js';
import { directoryStore } from '../../src/stores/directory/store.js';
import { assertBody, assertError, open } from '../behaviour/site.js';
import { content, temporaryDirectory } from '../stores/fixture.js';
import { KINDS, largeStore, openTuist, PROJECT } from './tuist-site.js';

const MIB = 1024 * 1024;
const OLD_PROJECT = 'account_handle=acme&project_handle=ios';
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/** Routes with uploads in one request: method, path, and the statuses for a new and for a replaced artifact. */
const UPLOADS = [
  ['POST', '/api/cache/cas/0~abc=', 204, 204],
  ['PUT', '/api/cache/gradle/0123456789abcdef0123456789abcdef', 201, 200],
  ['PUT', '/v1/cache/1234567890', 200, 200],
  ['PUT', '/api/metro/cache/0123456789abcdef', 200, 200],
] as const;

for (const kind of KINDS) {
  test(`${kind}: stores and returns artifacts on each route, with both names of the parameters`, async (t) => {
    const { ask } = await openTuist(t, kind);
    for (const [method, path, created, replaced] of UPLOADS) {
      const body = content(10_000, path.length);
      assertError(t, await ask('GET', `${path}?${PROJECT}`), 404);
      const first = await ask(method, `${path}?${PROJECT}`, { body });
      t.is(first.status, created, path);
      t.is(first.body.byteLength, 0);
      t.is((await ask(method, `${path}?${OLD_PROJECT}`, { body })).status, replaced, path);
      assertBody(t, (await ask('GET', `${path}?${OLD_PROJECT}`)).body, body);
      t.is((await ask('HEAD', `${path}?${PROJECT}`)).headers['content-length'], '10000');
      const part = await ask('GET', `${path}?${PROJECT}`, { headers: { range: 'bytes=5-9' } });
      t.is(part.status, 206);
      assertBody(t, part.body, body.subarray(5, 10));
    }
  });

  test(`${kind}: compares, stores and returns the checksum and the content type`, async (t) => {
    const { ask } = await openTuist(t, kind);
    const body = content(5000);
    for (const [method, path, created] of UPLOADS) {
      const url = `${path}?${PROJECT}`;
      const digest = { 'tuist-checksum-sha256': sha256(body).toUpperCase() };
      assertError(t, await ask(method, url, { body: content(5000, 1), headers: digest }), 422);
      t.is((await ask('GET', url)).status, 404, 'nothing is stored');
      for (const invalid of ['', 'abc', 'g'.repeat(64), sha256(body).slice(1)]) {
        assertError(t, await ask(method, url, { body, headers: { 'tuist-checksum-sha256': invalid } }), 400);
      }
      const headers = { ...digest, 'content-type': 'application/vnd.gradle.build-cache-artifact.v2' };
      t.is((await ask(method, url, { body, headers })).status, created);
      for (const again of ['GET', 'HEAD']) {
        const answer = await ask(again, url);
        t.is(answer.headers['tuist-checksum-sha256'], sha256(body));
        t.is(answer.headers['content-type'], headers['content-type']);
      }
      t.is((await ask(method, url, { body })).status < 300, true);
      t.is((await ask('GET', url)).headers['tuist-checksum-sha256'], undefined, 'the next upload replaces it');
    }
  });

  test(`${kind}: stores and returns key-values, and rejects invalid ones`, async (t) => {
    const { ask } = await openTuist(t, kind);
    const put = (value: unknown) =>
      ask('PUT', `/api/cache/keyvalue?${PROJECT}`, {
        body: Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)),
      });
    const entries = [{ value: 'first' }, { value: 'zweiter ü' }];
    t.is((await ask('GET', `/api/cache/keyvalue/0~id?${PROJECT}`)).status, 404);
    t.is(
      (await put({ cas_id: '0~id', entries: entries.map((entry) => ({ ...entry, more: 1 })), more: 2 })).status,
      204,
    );
    const found = await ask('GET', `/api/cache/keyvalue/0~id?${PROJECT}`);
    t.is(found.status, 200);
    t.is(found.headers['content-type'], 'application/json');
    t.deepEqual(JSON.parse(found.body.toString()), { entries });
    t.is((await put({ cas_id: '0~id', entries: [] })).status, 204);
    t.is((await ask('GET', `/api/cache/keyvalue/0~id?${PROJECT}`)).body.toString(), '{"entries":[]}');
    for (const invalid of [
      '',
      '{',
      '[]',
      'null',
      '{"cas_id":"a"}',
      '{"cas_id":1,"entries":[]}',
      '{"cas_id":"a","entries":{}}',
      '{"cas_id":"a","entries":["value"]}',
      '{"cas_id":"a","entries":[{"value":1}]}',
      '{"cas_id":"a/b","entries":[]}',
      '{"cas_id":"..","entries":[]}',
      '{"cas_id":"\\ud800","entries":[]}',
    ]) {
      assertError(t, await put(invalid), 400);
    }
    const invalidUtf8 = Buffer.from([
      ...Buffer.from('{"cas_id":"a","entries":[{"value":"'),
      0xff,
      ...Buffer.from('"}]}'),
    ]);
    assertError(t, await ask('PUT', `/api/cache/keyvalue?${PROJECT}`, { body: invalidUtf8 }), 400);
    const large = (length: number) => put({ cas_id: 'large', entries: [{ value: 'v'.repeat(length) }] });
    t.is((await large(MIB - 100)).status, 204);
    assertError(t, await large(MIB), 413);
  });

  test(`${kind}: rejects invalid requests`, async (t) => {
    const { ask } = await openTuist(t, kind);
    for (const query of [
      '',
      'tenant_id=acme',
      'namespace_id=ios',
      'tenant_id=&namespace_id=ios',
      'tenant_id=..&namespace_id=ios',
      'tenant_id=a%2Fb&namespace_id=ios',
    ]) {
      for (const [method, path] of [
        ['GET', '/api/cache/cas/a'],
        ['POST', '/api/cache/cas/a'],
        ['GET', '/api/cache/keyvalue/a'],
        ['PUT', '/api/cache/keyvalue'],
        ['PUT', '/api/cache/gradle/a'],
        ['GET', '/api/cache/module/a'],
        ['DELETE', '/api/cache/clean'],
      ] as const) {
        assertError(t, await ask(method, `${path}?${query}`, { body: method === 'GET' ? undefined : content(1) }), 400);
      }
    }
    for (const id of ['', '.', '..', '%2e', '%2e%2e', 'a%2fb', 'a%5cb', 'a%00b', 'a/b', 'a/', '%ff', '%']) {
      for (const path of [
        '/api/cache/cas',
        '/api/cache/keyvalue',
        '/api/cache/gradle',
        '/v1/cache',
        '/api/metro/cache',
      ]) {
        const url = `${path}/${id}?${PROJECT}`;
        assertError(t, await ask('GET', url), 400);
      }
    }
    assertError(t, await ask('GET', `/api/cache/cas/${'a'.repeat(1024)}?${PROJECT}`), 414);
    for (const [method, path, allow] of [
      ['PUT', '/api/cache/cas/a', 'GET, HEAD, POST'],
      ['POST', '/api/cache/gradle/a', 'GET, HEAD, PUT'],
      ['DELETE', '/v1/cache/a', 'GET, HEAD, PUT'],
      ['PUT', '/api/cache/keyvalue/a', 'GET, HEAD'],
      ['GET', '/api/cache/keyvalue', 'PUT'],
      ['GET', '/api/cache/clean', 'DELETE'],
      ['PUT', '/api/cache/module/a', 'GET, HEAD'],
    ] as const) {
      const answer = await ask(method, `${path}?${PROJECT}`);
      assertError(t, answer, 405);
      t.is(answer.headers.allow, allow);
    }
    for (const path of ['/api/cache/other/a', '/api/cache/cas', '/api/cache/clean/a', '/v1', '/']) {
      assertError(t, await ask('GET', `${path}?${PROJECT}`), 404);
    }
  });

  test(`${kind}: answers uploads above the limit of their route with 413`, async (t) => {
    const { ask } = await openTuist(t, kind);
    for (const [method, path, limit] of [
      ['POST', '/api/cache/cas/a', 256 * MIB],
      ['PUT', '/api/cache/gradle/a', 100 * MIB],
    ] as const) {
      const headers = { 'content-length': limit + 1 };
      assertError(t, await ask(method, `${path}?${PROJECT}`, { headers, body: unfinishedBody() }), 413);
    }
  });
}

/** Yields one byte and never ends. */
async function* unfinishedBody(): AsyncGenerator<Uint8Array> {
  yield content(1);
  await new Promise(() => {});
}

test('leaves shared routes to the next protocol if the request has no tenant and namespace', async (t) => {
  const others: Protocol = {
    name: 'others',
    route: () => ({ kind: 'answer', needs: 'none', answer: () => ({ status: 299 }) }),
  };
  const { ask } = await open(t, 'http', { store: largeStore(), protocols: [tuist(), others] });
  for (const path of ['/v1/cache/1', '/api/metro/cache/a']) {
    t.is((await ask('GET', path)).status, 299);
    t.is((await ask('GET', `${path}?other=1`)).status, 299);
    t.is((await ask('GET', `${path}?${PROJECT}`)).status, 404);
    t.is((await ask('GET', `${path}?tenant_id=acme`)).status, 400);
  }
  t.is((await ask('GET', '/api/cache/cas/a')).status, 400);
});

test('serves the configured path', async (t) => {
  const { ask } = await openTuist(t, 'http', { path: '/tuist' });
  t.is((await ask('POST', `/tuist/api/cache/cas/a?${PROJECT}`, { body: content(10) })).status, 204);
  assertBody(t, (await ask('GET', `/tuist/api/cache/cas/a?${PROJECT}`)).body, content(10));
  for (const path of ['/api/cache/cas/a', '/tuistapi/cache/cas/a', '/tuist']) {
    assertError(t, await ask('GET', `${path}?${PROJECT}`), 404);
  }
});

test('keeps artifacts of different tenants, namespaces and routes apart', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  const { ask } = await openTuist(t, 'http', {}, { store });
  const urls = ['acme:ios', 'acme:android', 'other:ios', 'acme%2Dios:x', 'Ä:ö', 'A%CC%88:ö'].flatMap((project) => {
    const [tenant, namespace] = project.split(':');
    return UPLOADS.map(
      ([method, path]) =>
        [
          method,
          `${path.replace(/[^/]+$/, 'id')}?tenant_id=${tenant}&namespace_id=${encodeURIComponent(namespace ?? '')}`,
        ] as const,
    );
  });
  for (const [index, [method, url]] of urls.entries())
    t.true((await ask(method, encodeURI(decodeURI(url)), { body: content(100, index) })).status < 300);
  for (const [index, [, url]] of urls.entries())
    assertBody(t, (await ask('GET', encodeURI(decodeURI(url)))).body, content(100, index));
  await store.close();
});

test('two requests have the same key only if tenant, namespace, route and name are equal', async (t) => {
  const name = fc.string({ unit: 'binary', minLength: 1, maxLength: 6 });
  const route = fc.constantFrom('cas', 'gradle', 'keyvalue', 'module');
  const request = fc.record({ tenant: name, namespace: name, route, id: name });
  const keyOf = async ({ tenant, namespace, route: which, id }: Record<string, string>) => {
    const query = new URLSearchParams({
      tenant_id: tenant ?? '',
      namespace_id: namespace ?? '',
      hash: id ?? '',
      name: id ?? '',
    });
    const path = `/api/cache/${which}/${which === 'module' ? 'any' : encodeURIComponent(id ?? '')}`;
    try {
      const operation = tuist().route({ method: 'GET', path, query, headers: {} });
      return operation === undefined ? undefined : await resolvedKey(operation);
    } catch {
      return undefined;
    }
  };
  await fc.assert(
    fc.asyncProperty(request, request, async (first, second) => {
      const keys = [await keyOf(first), await keyOf(second)];
      fc.pre(keys[0] !== undefined && keys[1] !== undefined);
      t.is(keys[0] === keys[1], JSON.stringify(first) === JSON.stringify(second));
      for (const key of keys)
        t.regex(key ?? '', /^[\w!'()*~.%-]+\/[\w!'()*~.%-]+\/[0-9a-f]{32}\/[a-z]+(?:\/[\w!'()*~.%-]+){1,3}$/);
    }),
  );
});

/** Returns the key of an operation. Every project has the same generation. */
async function resolvedKey(operation: Operation): Promise<string | undefined> {
  if (operation.kind !== 'answer') return 'key' in operation ? operation.key : undefined;
  const own = { scope: 'default', read: async () => Buffer.from('a'.repeat(32)) };
  const artifacts = { own, scopes: [own] } as unknown as ProtocolArtifacts;
  const answer = await operation.answer(artifacts);
  return answer !== undefined && 'kind' in answer && 'key' in answer ? answer.key : undefined;
}

test('a token for a namespace has access only to this namespace', async (t) => {
  const access = staticTokens([
    { token: 'ios-0123456789abcdef', level: 'write', namespaces: ['acme/ios'] },
    { token: 'reader-0123456789abcdef', level: 'read' },
  ]);
  const { ask } = await openTuist(t, 'http', {}, { access });
  const headers = { authorization: 'Bearer ios-0123456789abcdef' };
  for (const [method, path] of UPLOADS) {
    t.true((await ask(method, `${path}?${PROJECT}`, { headers, body: content(1) })).status < 300);
    for (const query of [
      'tenant_id=acme&namespace_id=android',
      'tenant_id=other&namespace_id=ios',
      'tenant_id=a&namespace_id=acme%2527ios',
    ]) {
      assertError(t, await ask(method, `${path}?${query}`, { headers, body: content(1) }), 401);
      assertError(t, await ask('GET', `${path}?${query}`, { headers }), 401);
    }
  }
  assertError(t, await ask('DELETE', '/api/cache/clean?tenant_id=acme&namespace_id=android', { headers }), 401);
  const reader = { authorization: 'Bearer reader-0123456789abcdef' };
  assertError(t, await ask('DELETE', `/api/cache/clean?${PROJECT}`, { headers: reader }), 403);
  t.is((await ask('GET', `/api/cache/cas/a?${PROJECT}`, { headers: reader })).status, 404);
  t.is((await ask('DELETE', `/api/cache/clean?${PROJECT}`, { headers })).status, 204);
});

test('rejects invalid options', (t) => {
  for (const [options, message] of [
    [{ path: '/' }, /^path: expected/],
    [{ uploadsDir: '' }, /^uploadsDir: expected a path/],
    [{ uploadTtlMs: 0 }, /^uploadTtlMs: expected/],
    [{ maxUploads: 0 }, /^maxUploads: expected/],
    [{ uploads: '' }, /^unknown option 'uploads'; expected one of path, uploadsDir/],
  ] as const) {
    t.throws(() => tuist(options as object), { code: 'ERR_HOTBLOB_INVALID_OPTION', message });
  }
});
