// Protocols that mostly consist of GET and PUT of a key: Nx, Metro, Gradle, ccache, Bazel.
import { createHash } from 'node:crypto';
import test from 'ava';
import { bazel } from '../../src/protocols/bazel/bazel.js';
import { ccache } from '../../src/protocols/ccache.js';
import { gradle } from '../../src/protocols/gradle.js';
import { metro } from '../../src/protocols/metro.js';
import { nx } from '../../src/protocols/nx.js';
import { plain } from '../../src/protocols/plain.js';
import type { Protocol } from '../../src/protocols/protocol.js';
import { memoryStore } from '../../src/stores/memory.js';
import { assertBody, open } from '../behaviour/site.js';
import { content } from '../stores/fixture.js';
import { assertStatuses, PROTOCOL_KINDS, serveProtocols } from './fixture.js';

const BODY = content(300_000);
const SHA256 = createHash('sha256').update(BODY).digest('hex');
const OTHER = 'f'.repeat(64);

interface Tool {
  readonly protocol: Protocol;
  readonly keys: readonly string[];
  /** Paths of the protocol that are not valid keys. */
  readonly invalid: readonly string[];
  readonly methods: readonly string[];
  readonly contentType?: string;
}

const TOOLS: readonly Tool[] = [
  {
    protocol: nx(),
    keys: ['/v1/cache/1234567890123456789', '/v1/cache/0', '/v1/cache/a_b-C'],
    invalid: ['/v1/cache/', '/v1/cache/a/b', '/v1/cache/a.b', '/v1/cache/%61', `/v1/cache/${'1'.repeat(129)}`],
    methods: ['GET', 'HEAD', 'PUT'],
    contentType: 'text/plain',
  },
  {
    protocol: metro(),
    keys: [`/metro/${'ab'.repeat(36)}`, `/metro/${'0'.repeat(32)}`],
    invalid: ['/metro/', '/metro/x', '/metro/ab/cd', `/metro/${'a'.repeat(129)}`],
    methods: ['GET', 'HEAD', 'PUT'],
  },
  {
    protocol: gradle(),
    keys: [`/gradle/${'0123456789abcdef'.repeat(2)}`],
    invalid: ['/gradle/', '/gradle/abc', `/gradle/${'A'.repeat(32)}`],
    methods: ['GET', 'HEAD', 'PUT'],
  },
  {
    protocol: ccache(),
    keys: [
      `/ccache/1a/48rf${'0v'.repeat(13)}0`,
      `/ccache/1a48rf${'0v'.repeat(13)}0`,
      '/ccache/0123456789abcdefghijklmnopqrstuv0',
      `/ccache/ac/${'0'.repeat(64)}`,
      `/ccache/ac/${'0'.repeat(38)}`,
      `/ccache/${'0'.repeat(40)}`,
    ],
    invalid: [
      '/ccache/',
      '/ccache/1a',
      `/ccache/cas/${'0'.repeat(64)}`,
      `/ccache/${'w'.repeat(33)}`,
      `/ccache/${'v'.repeat(40)}`,
      `/ccache/ab/${'0'.repeat(64)}`,
    ],
    methods: ['GET', 'HEAD', 'PUT', 'DELETE'],
  },
  {
    protocol: bazel(),
    keys: [`/bazel/ac/${OTHER}`, `/bazel/cas/${SHA256}`, `/bazel/a/team/ac/${OTHER}`, `/bazel/main/cas/${SHA256}`],
    invalid: [
      '/bazel/',
      '/bazel/ac/',
      `/bazel/blobs/${OTHER}`,
      `/bazel/ac/${OTHER.toUpperCase()}`,
      `/bazel/cas/${OTHER}0`,
    ],
    methods: ['GET', 'HEAD', 'PUT'],
  },
];

for (const kind of PROTOCOL_KINDS) {
  for (const { protocol, keys, invalid, methods, contentType } of TOOLS) {
    const { name } = protocol;
    const type = contentType ?? 'application/json; charset=utf-8';

    test(`${kind}: ${name}: a miss, two uploads, a hit, and a delete if supported`, async (t) => {
      const { ask } = await serveProtocols(t, kind, protocol);
      for (const key of keys) {
        const miss = await ask('GET', key);
        t.is(miss.status, 404);
        t.is(miss.headers['content-length'], String(miss.body.byteLength));
        t.is(miss.headers['content-type'], type);
        // With Content-Length, and chunked.
        for (const body of [BODY, chunks()]) t.is((await ask('PUT', key, { body })).status, 200);
        const hit = await ask('GET', key, { headers: { 'accept-encoding': 'gzip' } });
        t.is(hit.status, 200);
        assertBody(t, hit.body, BODY);
        t.is(hit.headers['content-encoding'], undefined);
      }
      for (const key of keys) {
        const head = await ask('HEAD', key);
        t.is(head.headers['content-length'], String(BODY.byteLength));
        if (methods.includes('DELETE')) {
          t.is((await ask('DELETE', key)).status, 204);
          t.is((await ask('GET', key)).status, 404);
        }
      }
    });

    test(`${kind}: ${name}: rejects invalid keys and unsupported methods`, async (t) => {
      const { ask } = await serveProtocols(t, kind, protocol);
      for (const path of invalid) {
        const responses = await assertStatuses(t, ask, [
          ['GET', path, 400],
          ['PUT', path, 400],
        ]);
        for (const { headers } of responses) t.is(headers['content-type'], type);
      }
      const refused = await ask('PATCH', keys[0] ?? '');
      t.is(refused.status, 405);
      t.is(refused.headers.allow, methods.join(', '));
      await assertStatuses(t, ask, [
        ['GET', '/', 404],
        ['GET', `/other${keys[0]}`, 404],
        ['PUT', '/v2/cache/1', 404],
      ]);
    });
  }

  test(`${kind}: keeps artifacts of different tools, instances and kinds apart`, async (t) => {
    const protocols = TOOLS.map(({ protocol }) => protocol);
    const { ask } = await serveProtocols(t, kind, ...protocols);
    const paths = [
      ...TOOLS.flatMap(({ keys }) => keys.filter((key) => !key.includes('/cas/'))),
      `/bazel/a/ac/${OTHER}`,
      `/bazel/a%252Fteam/ac/${OTHER}`,
      `/bazel/A/team/ac/${OTHER}`,
      `/bazel/instances/ac/${OTHER}`,
      `/bazel/instances/a/ac/${OTHER}`,
    ];
    for (const [seed, path] of paths.entries()) {
      t.is((await ask('PUT', path, { body: content(1000, seed) })).status, 200, path);
    }
    for (const [seed, path] of paths.entries()) assertBody(t, (await ask('GET', path)).body, content(1000, seed));
  });
}

test('accepts a base URL with a trailing slash', async (t) => {
  for (const { protocol, keys } of TOOLS) {
    const { ask } = await serveProtocols(t, 'http', protocol);
    for (const key of keys) {
      // Nx appends its path to the server name, the other tools append the key to the base URL.
      const path = protocol.name === 'nx' ? `/${key}` : key.replace(/^\/\w+/, '$&/');
      t.is((await ask('PUT', path, { body: BODY })).status, 200, path);
      assertBody(t, (await ask('GET', key)).body, BODY);
      t.not((await ask('GET', path.replace('//', '///'))).status, 200);
    }
  }
  const { ask } = await serveProtocols(t, 'http', metro({ path: '' }));
  t.is((await ask('PUT', '//abcd', { body: BODY })).status, 200, 'an endpoint without a path');
});

test('with an empty path, leaves other keys to the next protocol', async (t) => {
  const hex = '0'.repeat(40);
  for (const { protocol, keys, others } of [
    { protocol: gradle({ path: '' }), keys: { [hex]: `gradle/${hex}` }, others: ['0', 'a/b'] },
    { protocol: metro({ path: '' }), keys: { ABCD: 'metro/abcd' }, others: ['x', 'ab/cd'] },
    { protocol: ccache({ path: '' }), keys: { [hex]: `ccache/${hex}` }, others: [`${hex}0`, '1a'] },
    {
      protocol: bazel({ path: '' }),
      keys: { [`ac/${OTHER}`]: `bazel/ac/${OTHER}`, [`x/ac/${OTHER}`]: `bazel/instances/x/ac/${OTHER}` },
      others: ['ac/0', OTHER],
    },
  ]) {
    const store = memoryStore();
    const { ask } = await open(t, 'http', { store, protocols: [protocol, plain()] });
    for (const [path, key] of [...Object.entries(keys), ...others.map((other) => [other, other] as const)]) {
      t.is((await ask('PUT', `/${path}`, { body: BODY })).status, 200, path);
      t.truthy(store.get(key), key);
    }
  }
});

test('serves the configured path and rejects an invalid one', async (t) => {
  const { ask } = await serveProtocols(t, 'http', bazel({ path: '' }), gradle({ path: '/api/gradle' }));
  await assertStatuses(t, ask, [
    ['PUT', `/ac/${OTHER}`, 200],
    ['GET', `/ac/${OTHER}`, 200],
    ['PUT', `/api/gradle/${'0'.repeat(32)}`, 200],
    ['GET', `/gradle/${'0'.repeat(32)}`, 404],
    ['GET', '/ac', 404],
  ]);
  for (const path of ['gradle', '/gradle/', '/a b', '//', 7]) {
    t.throws(() => gradle({ path } as never), { code: 'ERR_HOTBLOB_INVALID_OPTION', message: /^path: expected ''/ });
  }
  t.throws(() => nx({ prefix: '' } as never), { message: /^unknown option 'prefix'; expected one of path/ });
});

async function* chunks(): AsyncGenerator<Buffer> {
  for (let start = 0; start < BODY.byteLength; start += 100_000) yield BODY.subarray(start, start + 100_000);
}
