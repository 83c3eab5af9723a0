import test from 'ava';
import { staticTokens } from '../../src/access/static-tokens.js';
import { turborepo } from '../../src/protocols/turborepo.js';
import { memoryStore } from '../../src/stores/memory.js';
import { assertBody, open, storeOf } from '../behaviour/site.js';
import { content } from '../stores/fixture.js';
import { assertStatuses, PROTOCOL_KINDS, serveProtocols } from './fixture.js';

const HASH = '0123456789abcdef';
const BODY = content(100_000);
const ARTIFACT_HEADERS = {
  'x-artifact-duration': '1234',
  'x-artifact-tag': 'c2lnbmF0dXJl',
  'x-artifact-sha': 'abc123',
  'x-artifact-dirty-hash': 'def456',
};

for (const kind of PROTOCOL_KINDS) {
  test(`${kind}: returns the headers of the upload`, async (t) => {
    const { ask } = await serveProtocols(t, kind, turborepo());
    const path = `/v8/artifacts/${HASH}?teamId=team_1&slug=acme`;
    const miss = await ask('GET', path);
    t.is(miss.status, 404);
    t.deepEqual(JSON.parse(miss.body.toString()), { error: { code: 'not_found', message: 'Not found.' } });
    const headers = { ...ARTIFACT_HEADERS, 'content-type': 'application/octet-stream', 'x-artifact-client-ci': 'no' };
    const put = await ask('PUT', path, { body: BODY, headers });
    t.is(put.status, 202);
    t.deepEqual(JSON.parse(put.body.toString()), { urls: [HASH] });
    for (const method of ['GET', 'HEAD']) {
      const found = await ask(method, path);
      t.is(found.status, 200);
      t.like(found.headers, {
        ...ARTIFACT_HEADERS,
        'content-length': '100000',
        'content-type': 'application/octet-stream',
      });
      t.is(found.headers['x-artifact-client-ci'], undefined);
      if (method === 'GET') assertBody(t, found.body, BODY);
    }
    // The next upload replaces the headers.
    t.is((await ask('PUT', path, { body: BODY, headers: { 'x-artifact-duration': '5' } })).status, 202);
    const again = await ask('GET', path);
    t.is(again.headers['x-artifact-duration'], '5');
    t.is(again.headers['x-artifact-tag'], undefined);
  });

  test(`${kind}: describes many artifacts in one request`, async (t) => {
    const { ask } = await serveProtocols(t, kind, turborepo());
    t.is((await ask('PUT', '/v8/artifacts/a?slug=acme', { body: BODY, headers: ARTIFACT_HEADERS })).status, 202);
    t.is((await ask('PUT', '/v8/artifacts/__proto__?slug=acme', { body: content(5) })).status, 202);
    const query = (hashes: unknown) => Buffer.from(JSON.stringify({ hashes }));
    const hashes = ['a', 'missing', '__proto__', ...Array.from({ length: 100 }, (_, index) => `hash-${index}`)];
    const found = await ask('POST', '/v8/artifacts?slug=acme', { body: query(hashes) });
    t.is(found.status, 200);
    const answer = new Map(Object.entries(JSON.parse(found.body.toString())));
    t.deepEqual(answer.get('a'), { size: 100_000, taskDurationMs: 1234, tag: ARTIFACT_HEADERS['x-artifact-tag'] });
    t.deepEqual(answer.get('__proto__'), { size: 5, taskDurationMs: 0 });
    t.is(answer.get('missing'), null);
    t.is(answer.size, 103);
    for (const body of [query('a'), query(['a/b']), query([1]), Buffer.from('{'), Buffer.from('null'), undefined]) {
      t.is((await ask('POST', '/v8/artifacts?slug=acme', { body })).status, 400, String(body));
    }
    t.is((await ask('POST', '/v8/artifacts', { body: content(1024 * 1024 + 1) })).status, 413);
  });

  test(`${kind}: answers status, events and preflights, and rejects invalid requests`, async (t) => {
    const { ask } = await serveProtocols(t, kind, turborepo());
    t.is((await ask('GET', '/v8/artifacts/status')).body.toString(), '{"status":"enabled"}');
    t.is((await ask('POST', '/v8/artifacts/events', { body: Buffer.from('[{"event":"HIT"}]') })).status, 200);
    for (const path of [`/v8/artifacts/${HASH}`, '/v8/artifacts', '/v8/artifacts/status']) {
      const preflight = await ask('OPTIONS', path, { headers: { origin: 'null' } });
      t.is(preflight.status, 200);
      t.regex(String(preflight.headers['access-control-allow-headers']), /authorization/i);
      t.regex(String(preflight.headers['access-control-allow-methods']), /PUT/);
    }
    const head = await ask('HEAD', '/v8/artifacts/status');
    t.is(head.status, 200);
    t.is(head.headers['content-length'], '20');
    t.is((await ask('GET', '//v8/artifacts/status')).status, 200, 'a TURBO_API with a trailing slash');
    await assertStatuses(t, ask, [
      ['GET', `/v8/artifacts/${HASH}?teamId=%FF`, 400],
      ['PUT', `/v8/artifacts/${HASH}?slug=%C3`, 400],
      ['GET', '/v8/artifactsx', 404],
      ['GET', '/v8/artifacts', 405],
      ['PUT', '/v8/artifacts/status', 405],
      ['GET', '/v8/artifacts/events', 405],
      ['DELETE', `/v8/artifacts/${HASH}`, 405],
      ['GET', '/v8/artifacts/a/b', 400],
      ['PUT', '/v8/artifacts/a.b', 400],
      ['GET', `/v8/artifacts/${'a'.repeat(129)}`, 400],
      ['GET', `/v8/artifacts/${HASH}?teamId=${'a'.repeat(1100)}`, 414],
      ['GET', '/v9/artifacts/a', 404],
    ]);
  });

  test(`${kind}: keeps the artifacts of teams apart`, async (t) => {
    const { ask } = await serveProtocols(t, kind, turborepo());
    const queries = [
      '',
      '?teamId=a',
      '?slug=a',
      '?teamId=A',
      '?teamId=a%2Fb',
      '?teamId=..',
      '?slug=%00',
      '?teamId=%25',
    ];
    for (const [seed, query] of queries.entries()) {
      t.is((await ask('PUT', `/v8/artifacts/${HASH}${query}`, { body: content(100, seed) })).status, 202, query);
    }
    for (const [seed, query] of queries.entries()) {
      assertBody(t, (await ask('GET', `/v8/artifacts/${HASH}${query}`)).body, content(100, seed));
    }
    // teamId takes precedence over slug. An empty parameter is ignored.
    assertBody(t, (await ask('GET', `/v8/artifacts/${HASH}?slug=x&teamId=a`)).body, content(100, 1));
    assertBody(t, (await ask('GET', `/v8/artifacts/${HASH}?teamId=`)).body, content(100, 0));
  });
}

test('sends access errors in the format of turbo, and passes the team as the namespace', async (t) => {
  const access = staticTokens([
    { token: 'reader-0123456789abcdef', level: 'read' },
    { token: 'writer-0123456789abcdef', level: 'write', namespaces: ['acme'] },
  ]);
  const { ask } = await open(t, 'http', { store: memoryStore(), protocols: [turborepo()], access });
  const as = (token: string) => ({ authorization: `Bearer ${token}` });
  const path = `/v8/artifacts/${HASH}`;
  const denied = await ask('PUT', `${path}?slug=acme`, { body: BODY, headers: as('reader-0123456789abcdef') });
  t.is(denied.status, 403);
  t.like(JSON.parse(denied.body.toString()), { error: { code: 'forbidden' } });
  const headers = as('writer-0123456789abcdef');
  t.is((await ask('PUT', `${path}?slug=acme`, { body: BODY, headers })).status, 202);
  t.is((await ask('GET', '/v8/artifacts/status?slug=acme', { headers })).status, 200);
  for (const query of ['', '?slug=other', '?slug=acme&teamId=team_1']) {
    const unknown = await ask('GET', `${path}${query}`, { headers });
    t.is(unknown.status, 401, query);
    t.like(JSON.parse(unknown.body.toString()), { error: { code: 'unauthorized' } });
  }
  t.is((await ask('OPTIONS', path)).status, 200, 'a preflight needs no token');
});

test('describes artifacts of a store without metadata', async (t) => {
  const { ask } = await open(t, 'http', {
    store: storeOf({
      'turborepo/no-team/a': { kind: 'bytes', bytes: content(3), headers: { 'x-artifact-duration': 'soon' } },
    }),
    protocols: [turborepo()],
  });
  const found = await ask('POST', '/v8/artifacts', { body: Buffer.from('{"hashes":["a"]}') });
  t.deepEqual(JSON.parse(found.body.toString()), { a: { size: 3, taskDurationMs: 0 } });
});
