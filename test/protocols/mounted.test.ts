import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import test from 'ava';
import type { Artifact } from '../../src/contract/artifact.js';
import { HotblobError } from '../../src/contract/errors.js';
import type { PutResult } from '../../src/contract/store.js';
import { createHandler } from '../../src/handler/handler.js';
import { plain } from '../../src/protocols/plain.js';
import {
  jsonReply,
  type Operation,
  type Protocol,
  type ProtocolArtifacts,
  type Reply,
} from '../../src/protocols/protocol.js';
import { memoryStore } from '../../src/stores/memory.js';
import { assertBody, assertError, open } from '../behaviour/site.js';
import { content, temporaryDirectory } from '../stores/fixture.js';

const KINDS = ['http', 'h2c', 'port-http', 'port-h2c'] as const;

function protocol(name: string, route: (method: string, path: string) => Operation | undefined, rest = {}): Protocol {
  return { name, route: ({ method, path }) => route(method, path), ...rest };
}

/** Protocol with one operation of each kind. */
const tool = protocol(
  'tool',
  (method, path): Operation | undefined => {
    if (!path.startsWith('/tool/')) return undefined;
    const key = path.slice('/tool/'.length);
    if (key === 'invalid') throw new HotblobError('ERR_HOTBLOB_BAD_REQUEST', 'a message for programmers');
    if (method === 'GET' || method === 'HEAD') return { kind: 'read', key };
    if (method === 'PUT') {
      const isDigest = /^[0-9a-f]{64}$/.test(key);
      const reply = ({ created }: PutResult) => jsonReply(created ? 202 : 200, { urls: [key] });
      return {
        kind: 'upload',
        key,
        maxBytes: 1000,
        digest: isDigest ? { algorithm: 'sha256', hex: key } : undefined,
        reply,
      };
    }
    if (method === 'DELETE') return { kind: 'delete', key };
    if (method === 'POST') return { kind: 'answer', needs: 'write', answer: (artifacts) => answer(key, artifacts) };
    return { kind: 'unsupported', allow: ['GET', 'PUT', 'POST'] };
  },
  { describeError: (status: number) => ({ contentType: 'text/plain', text: `tool: ${status}` }) },
);

async function answer(key: string, artifacts: ProtocolArtifacts): Promise<Reply | Operation> {
  switch (key) {
    case 'no-content':
      return { status: 204 };
    case 'sizes': {
      const keys = (await artifacts.body(100).toArray()).join('').split(',');
      const descriptions = await Promise.all(keys.map((each) => artifacts.describe(each)));
      return jsonReply(
        200,
        descriptions.map((each) => each?.size ?? null),
      );
    }
    case 'create':
      await artifacts.put('created', Readable.from([content(10)]));
      return { status: 200, headers: { 'x-created': 'created' } };
    case 'remove':
      return jsonReply(200, await artifacts.delete('created'));
    default:
      return { kind: 'read', key };
  }
}

for (const kind of KINDS) {
  test(`${kind}: performs every operation of a protocol`, async (t) => {
    const { ask } = await open(t, kind, { store: memoryStore(), protocols: [tool] });
    const body = content(1000);
    const created = await ask('PUT', '/tool/a', { body });
    t.is(created.status, 202);
    t.is(created.body.toString(), '{"urls":["a"]}');
    t.is(created.headers['content-type'], 'application/json; charset=utf-8');
    t.is((await ask('PUT', '/tool/a', { body })).status, 200);
    assertBody(t, (await ask('GET', '/tool/a')).body, body);
    t.is((await ask('HEAD', '/tool/a')).headers['content-length'], '1000');

    const sizes = await ask('POST', '/tool/sizes', { body: Buffer.from('a,b') });
    t.is(sizes.body.toString(), '[1000,null]');
    t.is((await ask('POST', '/tool/sizes', { body: content(101) })).status, 413);
    const reply = await ask('POST', '/tool/create');
    t.is(reply.headers['x-created'], 'created');
    t.is(reply.headers['content-length'], '0');
    assertBody(t, (await ask('GET', '/tool/created')).body, content(10));
    t.is((await ask('POST', '/tool/remove')).body.toString(), 'true');
    t.is((await ask('GET', '/tool/created')).status, 404);
    const noContent = await ask('POST', '/tool/no-content');
    t.is(noContent.status, 204);
    t.is(noContent.headers['content-length'], undefined);
    // A body that the protocol does not read does not affect the next request.
    t.is((await ask('POST', '/tool/no-content', { body: content(900_000) })).status, 204);
    assertBody(t, (await ask('POST', '/tool/a')).body, body);
    t.is((await ask('DELETE', '/tool/a')).status, 204);
  });

  test(`${kind}: errors have the format of the protocol that recognised the request`, async (t) => {
    const { ask } = await open(t, kind, { store: memoryStore(), protocols: [tool, plain()] });
    for (const [method, path, body, status] of [
      ['GET', '/tool/missing', undefined, 404],
      ['GET', '/tool/invalid', undefined, 400],
      ['GET', '/tool/a//b', undefined, 400],
      ['GET', `/tool/${'a'.repeat(1020)}`, undefined, 414],
      ['PUT', '/tool/large', content(1001), 413],
      ['PATCH', '/tool/a', undefined, 405],
    ] as const) {
      const response = await ask(method, path, { body });
      t.is(response.status, status, `${method} ${path}`);
      t.is(response.body.toString(), `tool: ${status}`);
      t.is(response.headers['content-type'], 'text/plain');
    }
    const head = await ask('HEAD', '/tool/missing');
    t.is(head.status, 404);
    t.is(head.body.byteLength, 0);
    t.is((await ask('PATCH', '/tool/a')).headers.allow, 'GET, PUT, POST');
    assertError(t, await ask('GET', '/missing'), 404);
  });

  test(`${kind}: rejects a body that does not match its digest, and stores nothing`, async (t) => {
    const { ask } = await open(t, kind, { store: memoryStore(), protocols: [tool] });
    const body = content(500);
    const digest = createHash('sha256').update(body).digest('hex');
    t.is((await ask('PUT', `/tool/${digest}`, { body: content(500, 1) })).status, 400);
    t.is((await ask('PUT', `/tool/${digest}`, { body: content(499) })).status, 400);
    t.is((await ask('GET', `/tool/${digest}`)).status, 404);
    t.is((await ask('PUT', `/tool/${digest}`, { body })).status, 202);
    assertBody(t, (await ask('GET', `/tool/${digest}`)).body, body);
  });
}

test('the first protocol that recognises a request handles it, and the host handles the others', async (t) => {
  const read = (key: string) => (): Operation => ({ kind: 'read', key });
  const other = protocol('other', (_method, path) => (path === '/x' ? read('x')() : undefined));
  const store = memoryStore();
  const { ask } = await open(t, 'http', { store, protocols: [other, protocol('all', read('everything'))] });
  await store.put('other/x', Readable.from(['other']), { signal: new AbortController().signal });
  await store.put('all/everything', Readable.from(['all']), { signal: new AbortController().signal });
  t.is((await ask('GET', '/x')).body.toString(), 'other');
  t.is((await ask('GET', '/y')).body.toString(), 'all');
  const alone = await open(t, 'http', { store, protocols: [other] });
  t.is((await alone.ask('GET', '/y')).status, 404);
});

test('keys of one protocol cannot be reached through another', async (t) => {
  const store = memoryStore();
  const second = protocol('second', (_method, path) => ({ kind: 'read', key: path.slice(1) }), { keyPrefix: 'a/b/' });
  const { ask } = await open(t, 'http', { store, protocols: [tool, plain()] });
  t.is((await ask('PUT', '/tool/key', { body: content(10) })).status, 202);
  t.is((await ask('PUT', '/key', { body: content(20) })).status, 200);
  assertBody(t, (await ask('GET', '/tool/key')).body, content(10));
  for (const path of ['/%74ool/key', '/TOOL/key', '/tool%2fkey']) {
    for (const method of ['GET', 'PUT', 'DELETE']) {
      t.is((await ask(method, path, { body: method === 'PUT' ? content(1) : undefined })).status, 400, path);
    }
  }
  t.is((await ask('PUT', '/toolbox/key', { body: content(30) })).status, 200, 'only the whole segment is reserved');
  // A file with this name would prevent the directory of the other protocol.
  for (const path of ['/tool', '/TOOL']) t.is((await ask('PUT', path, { body: content(1) })).status, 400, path);
  const both = await open(t, 'http', { store, protocols: [plain(), second] });
  for (const path of ['/a', '/a/b']) t.is((await both.ask('PUT', path, { body: content(1) })).status, 400, path);
  t.is((await both.ask('GET', '/a/b/c')).status, 400);
  t.is((await both.ask('GET', '/a/c')).status, 404);
  // Without another protocol, the prefix is not reserved.
  const alone = await open(t, 'http', { store });
  assertBody(t, (await alone.ask('GET', '/tool/key')).body, content(10));
});

test('answers writes with 405 if the store is read-only', async (t) => {
  const all = memoryStore();
  const { ask } = await open(t, 'http', { store: { get: (key) => all.get(key) }, protocols: [tool] });
  for (const [method, path] of [
    ['PUT', '/tool/a'],
    ['DELETE', '/tool/a'],
    ['POST', '/tool/create'],
    ['POST', '/tool/remove'],
  ] as const) {
    t.is((await ask(method, path, { body: method === 'PUT' ? content(1) : undefined })).status, 405, path);
  }
});

test('ProtocolArtifacts.read returns the first bytes of any kind of artifact', async (t) => {
  const directory = await temporaryDirectory(t);
  const path = join(directory, 'file');
  await writeFile(path, 'a file of some bytes');
  const stream = Readable.from(['so', 'me by', 'tes']);
  const moved: Artifact[] = [{ kind: 'file', path: join(directory, 'before') }];
  const found: Record<string, () => Artifact> = {
    bytes: () => ({ kind: 'bytes', bytes: Buffer.from('some bytes') }),
    whole: () => ({ kind: 'file', path }),
    region: () => ({ kind: 'file', path, offset: 2, length: 7 }),
    stream: () => ({ kind: 'stream', open: () => stream }),
    vanished: () => ({ kind: 'file', path: join(directory, 'none') }),
    moved: () => moved.shift() ?? { kind: 'file', path },
  };
  const reading = protocol('reading', (_method, url) => ({
    kind: 'answer',
    needs: 'read',
    answer: async (artifacts) => jsonReply(200, (await artifacts.read(url.slice(1), 6))?.toString() ?? null),
  }));
  const store = { get: (key: string) => found[key.slice('reading/'.length)]?.() };
  const { ask } = await open(t, 'http', { store, protocols: [reading] });
  for (const [key, text] of Object.entries({
    bytes: 'some b',
    whole: 'a file',
    region: 'file o',
    stream: 'some b',
    vanished: null,
    moved: 'a file',
    missing: null,
  })) {
    t.is((await ask('GET', `/${key}`)).body.toString(), JSON.stringify(text), key);
  }
  t.true(stream.destroyed, 'the stream is closed');
});

test('mismatch is the status for a body that does not match its digest', async (t) => {
  const hex = createHash('sha256').update(content(10)).digest('hex');
  const digest = { algorithm: 'sha256', hex } as const;
  const strict = protocol('strict', () => ({ kind: 'upload', key: 'a', digest, mismatch: 422 }));
  const { ask } = await open(t, 'http', { store: memoryStore(), protocols: [strict] });
  assertError(t, await ask('PUT', '/', { body: content(11) }), 422);
  t.is((await ask('PUT', '/', { body: content(10) })).status, 200);
});

test('rejects an invalid protocol with its index', (t) => {
  const messageOf = (...protocols: unknown[]) =>
    t.throws(() => createHandler({ store: memoryStore(), protocols: protocols as Protocol[] }), {
      code: 'ERR_HOTBLOB_INVALID_OPTION',
    })?.message ?? '';
  const route = () => undefined;
  t.regex(messageOf(), /^protocols: expected/);
  t.regex(messageOf(plain(), 7), /^protocols\[1\]: expected a protocol, such as nx\(\), received 7/);
  t.regex(messageOf({ name: 'A tool', route }), /^protocols\[0\]\.name: expected lower-case/);
  t.regex(messageOf({ name: 'tool' }), /^protocols\[0\]\.route: expected a function/);
  t.regex(messageOf({ name: 'tool', route, keyPrefix: 'tool' }), /^protocols\[0\]\.keyPrefix/);
  t.regex(messageOf({ name: 'tool', route, keyPrefix: '/' }), /^protocols\[0\]\.keyPrefix/);
  t.regex(messageOf(plain(), plain()), /^protocols\[1\]\.name: expected a name that no other/);
});
