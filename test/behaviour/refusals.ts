import { Readable } from 'node:stream';
import test from 'ava';
import type { Artifact } from '../../src/contract/artifact.js';
import { HotblobError } from '../../src/contract/errors.js';
import type { Store } from '../../src/contract/store.js';
import { memoryStore } from '../../src/stores/memory.js';
import { can, KINDS, type Kind } from '../helpers/servers.js';
import { assertError, open, productTestIn, type Scope, storeOf } from './site.js';

const SECRET = 'connect to db://admin@10.0.0.1 failed in /srv/secret.ts';

/** Values that are no artifacts. A store written in JavaScript may return them. */
const NONSENSE: readonly unknown[] = [
  null,
  0,
  42,
  'text',
  true,
  {},
  [],
  Buffer.from('bytes without an artifact'),
  { kind: 'blob' },
  { kind: 'bytes' },
  { kind: 'bytes', bytes: 42 },
  { kind: 'file' },
  { kind: 'file', path: 42 },
  { kind: 'file', path: `${process.execPath}\0` },
  { kind: 'file', path: process.execPath, offset: -1 },
  { kind: 'file', path: process.execPath, offset: Number.NaN },
  { kind: 'file', path: process.execPath, length: Number.MAX_SAFE_INTEGER },
  { kind: 'file', path: process.execPath, offset: 1.5, length: 10 },
  { kind: 'file', path: process.execPath, offset: 1, length: 10.5 },
  { kind: 'file', path: process.execPath, offset: 1, length: '10' },
  { kind: 'bytes', bytes: 'text' },
  { kind: 'bytes', bytes: new ArrayBuffer(10) },
  { kind: 'bytes', bytes: new Uint16Array(10) },
  { kind: 'bytes', bytes: Buffer.from('a'), headers: { 'x-split': 'a\r\nset-cookie: b' } },
  { kind: 'bytes', bytes: Buffer.from('a'), headers: { 'x name': 'a' } },
  { kind: 'bytes', bytes: Buffer.from('a'), contentType: 'text/plain\n' },
  { kind: 'bytes', bytes: Buffer.from('a'), etag: '"\u20ac"' },
  { kind: 'stream', size: -1, open: () => Readable.from([Buffer.from('a')]) },
  { kind: 'stream', size: 1.5, open: () => Readable.from([Buffer.from('a')]) },
  { kind: 'stream', size: '1', open: () => Readable.from([Buffer.from('a')]) },
  { kind: 'stream', size: Number.NaN, open: () => Readable.from([Buffer.from('a')]) },
  { kind: 'stream' },
  { kind: 'stream', open: () => undefined },
  { kind: 'stream', open: () => 'text' },
  { kind: 'bytes', bytes: Buffer.from('a'), lastModified: new Date(Number.NaN) },
];

function failure(code: string): Error {
  return Object.assign(new Error(SECRET), { code });
}

function throwing(error: () => unknown): Store {
  const fail = (): never => {
    throw error();
  };
  const reject = async (): Promise<never> => fail();
  return { get: fail, put: reject, delete: reject };
}

/** Paths that are not valid keys and that the host rejects or rewrites. A `URL`, for example, resolves dot segments. */
interface HostPaths {
  readonly refused: readonly string[];
  /** The key that each path is replaced by. */
  readonly replaced?: Readonly<Record<string, string>>;
}

const DOT_SEGMENTS = { '/./a': 'a', '/../a': 'a', '/%2e%2e/a': 'a' };
const HOST_PATHS: Readonly<Record<string, HostPaths>> = {
  fastify: { refused: ['/%ff', '/%'] },
  hono: { refused: ['/a\\b'], replaced: DOT_SEGMENTS },
  fetch: { refused: [], replaced: { ...DOT_SEGMENTS, '/a\\b': 'a/b' } },
};

export function refusals(kind: Kind, scope: Scope): void {
  const productTest = productTestIn(scope);
  test(`${kind}: a miss is answered with 404`, async (t) => {
    const { ask } = await open(t, kind, { store: storeOf({}) });
    assertError(t, await ask('GET', '/missing'), 404);
    assertError(t, await ask('GET', '/a/b/c'), 404);
    assertError(t, await ask('GET', '/missing', { headers: { range: 'bytes=0-1' } }), 404);
    const asynchronous = await open(t, kind, { store: { get: async () => undefined } });
    assertError(t, await asynchronous.ask('GET', '/missing'), 404);
  });

  test(`${kind}: a method that the store does not support is answered with 405 and an Allow header`, async (t) => {
    const readOnly = await open(t, kind, { store: storeOf({ key: { kind: 'bytes', bytes: Buffer.from('a') } }) });
    for (const method of ['PUT', 'DELETE', 'POST', 'PATCH', 'OPTIONS']) {
      const response = await readOnly.ask(method, '/key');
      assertError(t, response, 405);
      t.is(response.headers.allow, 'GET, HEAD', method);
    }
    assertError(t, await readOnly.ask('PUT', '/key', { body: Buffer.alloc(100_000) }), 405);
    const writable = await open(t, kind, { store: memoryStore() });
    t.is((await writable.ask('POST', '/key')).headers.allow, 'GET, HEAD, PUT, DELETE');
  });

  test(`${kind}: an invalid key is answered with 400 and a key that is too long with 414`, async (t) => {
    const asked: string[] = [];
    const { ask } = await open(t, kind, {
      store: {
        get(key) {
          asked.push(key);
          return undefined;
        },
      },
    });
    const bad = [
      '/',
      '//a',
      '/a//b',
      '/a/',
      '/./a',
      '/../a',
      '/a/..',
      '/%2e%2e/a',
      '/a%2Fb',
      '/a%5cb',
      '/a%00',
      '/%ff',
    ];
    const { refused = [], replaced = {} } = HOST_PATHS[KINDS[kind].host] ?? {};
    for (const path of [...bad, '/%', '/a%0ab', '/a\\b']) {
      if (replaced[path] !== undefined) continue;
      const response = await ask('GET', path);
      if (refused.includes(path)) t.is(response.status, 400, path);
      else assertError(t, response, 400);
    }
    assertError(t, await ask('GET', `/${'a'.repeat(1025)}`), 414);
    assertError(t, await ask('GET', `/${'%C3%A4'.repeat(513)}`), 414);
    t.deepEqual(asked, []);
    assertError(t, await ask('GET', `/${'a'.repeat(1024)}`), 404);
    assertError(t, await ask('GET', '/...%20%25/%C3%A4'), 404);
    t.deepEqual(asked, ['a'.repeat(1024), '... %/ä']);
    for (const path of Object.keys(replaced)) assertError(t, await ask('GET', path), 404);
    t.deepEqual(asked.slice(2), Object.values(replaced));
  });

  test(`${kind}: an error of the store is answered with 500 and a generic message`, async (t) => {
    const failures = [() => new Error(SECRET), () => SECRET, () => undefined, () => null, () => ({ code: 'ENOSPC' })];
    for (const error of failures) {
      const thrown = await open(t, kind, { store: throwing(error) });
      const rejected = await open(t, kind, { store: { get: async () => throwing(error).get('key', NEVER) } });
      const responses = [
        await thrown.ask('GET', '/key'),
        await thrown.ask('DELETE', '/key'),
        await thrown.ask('PUT', '/key', { body: Buffer.from('body') }),
        await thrown.ask('PUT', '/key', { headers: { 'if-match': '"a"' }, body: Buffer.from('body') }),
        await rejected.ask('GET', '/key'),
      ];
      for (const response of responses) {
        assertError(t, response, 500);
        t.is(response.body.toString(), '{"message":"Internal server error."}\n');
        t.notRegex(JSON.stringify(response.headers), /secret|admin/);
      }
    }
  });

  productTest(`${kind}: a value of the store that is no artifact is answered with 500`, async (t) => {
    for (const [index, nonsense] of NONSENSE.entries()) {
      // Stores written in JavaScript are not type-checked.
      const { ask } = await open(t, kind, { store: { get: () => nonsense as Artifact } });
      for (const headers of [{}, { range: 'bytes=0-0' }]) {
        const response = await ask('GET', '/key', { headers });
        t.is(response.status, 500, `${index}: ${JSON.stringify(nonsense)}`);
        assertError(t, response, 500);
      }
    }
  });

  productTest(
    `${kind}: a full disk is answered with 507, a lack of descriptors or memory with 503 and Retry-After`,
    async (t) => {
      for (const code of ['ENOSPC', 'EDQUOT', 'EMFILE', 'ENFILE', 'ENOMEM']) {
        const { ask } = await open(t, kind, { store: throwing(() => failure(code)) });
        const status = code === 'ENOSPC' || code === 'EDQUOT' ? 507 : 503;
        for (const method of ['PUT', 'GET', 'DELETE']) {
          const response = await ask(method, '/key', method === 'PUT' ? { body: Buffer.alloc(1000) } : {});
          assertError(t, response, status);
          t.is(/^(?:[1-9]|10)$/.test(String(response.headers['retry-after'])), status === 503, code);
          // Closing the connection frees a descriptor.
          if (status === 503 && KINDS[kind].version === 1) {
            t.is(response.headers.connection, can(kind, 'close-connections') ? 'close' : 'keep-alive', code);
          }
        }
      }
      const own = await open(t, kind, {
        store: throwing(() => new HotblobError('ERR_HOTBLOB_OVERLOADED', SECRET)),
      });
      assertError(t, await own.ask('GET', '/key'), 503);
    },
  );

  test(`${kind}: an error response to HEAD has the Content-Length of GET and no body`, async (t) => {
    const { ask } = await open(t, kind, { store: throwing(() => new Error(SECRET)) });
    for (const path of ['/key', '/a//b', `/${'a'.repeat(1025)}`]) {
      const get = await ask('GET', path);
      const head = await ask('HEAD', path);
      t.is(head.status, get.status);
      t.is(head.body.byteLength, 0);
      t.is(head.headers['content-length'], get.headers['content-length']);
    }
  });
}

const NEVER = { signal: new AbortController().signal };
