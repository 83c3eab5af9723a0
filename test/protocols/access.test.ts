import test from 'ava';
import type { AccessPolicy } from '../../src/access/policy.js';
import { staticTokens } from '../../src/access/static-tokens.js';
import type { Store } from '../../src/contract/store.js';
import { plain } from '../../src/protocols/plain.js';
import { jsonReply, type Operation, type Protocol } from '../../src/protocols/protocol.js';
import { memoryStore } from '../../src/stores/memory.js';
import { assertBody, assertError, open } from '../behaviour/site.js';
import { content, put } from '../stores/fixture.js';

const WRITER = 'writer-0123456789abcdef';
const READER = 'reader-0123456789abcdef';
const TEAM_WRITER = 'team-0123456789abcdefgh';
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const basic = (token: string) => ({ authorization: `Basic ${Buffer.from(`user:${token}`).toString('base64')}` });

const teams: Protocol = {
  name: 'teams',
  route({ method, path, query }): Operation | undefined {
    if (!path.startsWith('/teams/')) return undefined;
    const key = path.slice('/teams/'.length);
    const namespace = query.get('team') ?? undefined;
    if (method === 'OPTIONS') return { kind: 'answer', needs: 'none', answer: () => ({ status: 200 }) };
    if (method === 'POST') return { kind: 'answer', needs: 'write', answer: () => jsonReply(200, {}) };
    if (method === 'PUT') return { kind: 'upload', namespace, key };
    return { kind: 'read', namespace, key };
  },
  describeError: (status) => ({ contentType: 'text/plain', text: `teams: ${status}` }),
};

const access = staticTokens(
  [
    { token: WRITER, level: 'write' },
    { token: READER, level: 'read' },
    { token: TEAM_WRITER, level: 'write', protocols: ['teams'], namespaces: ['a'] },
  ],
  { protocols: ['teams'] },
);

for (const kind of ['http', 'h2c', 'port-http'] as const) {
  test(`${kind}: enforces the access level for reads and writes`, async (t) => {
    const lookups: string[] = [];
    const all = memoryStore();
    await put(all, 'key', content(10));
    const store: Store = {
      get: (key) => {
        lookups.push(key);
        return all.get(key);
      },
      put: (key, body, options) => all.put(key, body, options),
      delete: (key) => all.delete(key),
    };
    const { ask } = await open(t, kind, { store, access, protocols: [teams, plain()] });
    for (const headers of [{}, bearer('unknown-0123456789abcdef'), { authorization: 'malformed' }]) {
      for (const [method, path] of [
        ['GET', '/key'],
        ['HEAD', '/key'],
        ['GET', '/missing'],
        ['PUT', '/key'],
        ['DELETE', '/key'],
      ] as const) {
        const body = method === 'PUT' ? content(100_000) : undefined;
        const refused = await ask(method, path, { headers, body });
        t.is(refused.status, 401, `${method} ${path}`);
        if (method !== 'HEAD') assertError(t, refused, 401);
        t.regex(String(refused.headers['www-authenticate']), /Basic realm="hotblob".*Bearer/);
      }
    }
    t.deepEqual(lookups, [], 'no lookup without access');

    for (const scheme of [bearer, basic]) {
      assertBody(t, (await ask('GET', '/key', { headers: scheme(READER) })).body, content(10));
      const refused = await ask('PUT', '/key', { headers: scheme(READER), body: content(20) });
      assertError(t, refused, 403);
      assertError(t, await ask('DELETE', '/key', { headers: scheme(READER) }), 403);
      assertBody(t, (await ask('GET', '/key', { headers: scheme(READER) })).body, content(10));
      t.is((await ask('PUT', '/new', { headers: scheme(WRITER), body: content(20) })).status, 200);
      t.is((await ask('DELETE', '/new', { headers: scheme(WRITER) })).status, 204);
    }
  });

  test(`${kind}: enforces protocols and namespaces, also for answers, and allows preflights`, async (t) => {
    const { ask } = await open(t, kind, { store: memoryStore(), access, protocols: [teams, plain()] });
    const body = content(10);
    const headers = bearer(TEAM_WRITER);
    t.is((await ask('PUT', '/teams/key?team=a', { headers, body })).status, 200);
    assertBody(t, (await ask('GET', '/teams/key?team=a', { headers })).body, body);
    for (const path of ['/teams/key?team=b', '/teams/key', '/key', '/teams/missing?team=b']) {
      const refused = await ask('GET', path, { headers });
      t.is(refused.status, 401, path);
      if (path.startsWith('/teams')) t.is(refused.body.toString(), 'teams: 401');
    }
    t.is((await ask('OPTIONS', '/teams/key')).status, 200);
    t.is((await ask('POST', '/teams/x')).status, 401);
    t.is((await ask('POST', '/teams/x', { headers: bearer(READER) })).status, 403);
    t.is((await ask('POST', '/teams/x', { headers: bearer(WRITER) })).status, 200);
  });
}

test('awaits an async policy, and answers 500 if it throws or returns an invalid level', async (t) => {
  const policies: [AccessPolicy, number][] = [
    [() => Promise.resolve('read'), 200],
    [() => Promise.resolve('none'), 401],
    [() => Promise.reject(new Error('the user directory is unreachable')), 500],
    [
      () => {
        throw new Error('a bug');
      },
      500,
    ],
    [() => 'all' as never, 500],
    [() => Promise.resolve(undefined as never), 500],
  ];
  for (const [policy, status] of policies) {
    const store = memoryStore();
    await put(store, 'key', content(10));
    const { ask } = await open(t, 'http', { store, access: policy });
    t.is((await ask('GET', '/key')).status, status);
  }
});
