import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import express from 'express';
import type { Artifact } from '../../src/contract/artifact.js';
import type { Store } from '../../src/contract/store.js';
import { createHandler } from '../../src/handler/handler.js';
import type { HandlerOptions } from '../../src/handler/options.js';
import { nx } from '../../src/protocols/nx.js';
import { plain } from '../../src/protocols/plain.js';
import type { Protocol } from '../../src/protocols/protocol.js';
import { directoryStore } from '../../src/stores/directory/store.js';
import { memoryStore } from '../../src/stores/memory.js';
import { request } from '../helpers/client.js';
import { until } from '../helpers/poll.js';
import { type Kind, startListener, startServer } from '../helpers/servers.js';
import { collectWarnings } from '../helpers/warnings.js';
import { temporaryDirectory, unprivileged } from '../stores/fixture.js';

// Serial, because warnings belong to the process.

async function start(t: ExecutionContext, options: Partial<HandlerOptions>) {
  const warnings = collectWarnings(t);
  const server = await startServer(t, 'http', createHandler({ store: memoryStore(), ...options }));
  const statusOf = async (method: string, path: string): Promise<number> =>
    (await request(server, { method, path, body: method === 'PUT' ? Buffer.from('a') : undefined })).status;
  const warning = async (): Promise<string> => {
    await until('a warning is emitted', () => warnings.length > 0);
    return warnings.join('\n');
  };
  return { statusOf, warning };
}

for (const kind of [
  'express-http',
  'express4-http',
  'connect-http',
  'connect-h2',
  'koa-http',
  'koa-h2c',
  'fastify-http',
  'hono-http',
  'fetch-http',
] as const satisfies readonly Kind[]) {
  test.serial(`${kind}: a mount path that the framework has removed is named once`, async (t) => {
    const warnings = collectWarnings(t);
    const mount = `/${kind}`;
    const handler = createHandler({ store: memoryStore(), mountPath: mount });
    const server = await startServer(t, kind, handler, { mount });
    for (let count = 0; count < 2; count++) t.is((await request(server, { path: `${mount}/key` })).status, 404);
    await until('the warning is emitted', () => warnings.length > 0);
    t.deepEqual(warnings, [
      `mountPath: expected a request below ${mount}, received one whose path the framework has already removed; omit mountPath, because the framework mounts the handler there`,
    ]);
  });
}

test.serial('a request of another path is no reason to warn of the mount path', async (t) => {
  const warnings = collectWarnings(t);
  const handler = createHandler({ store: memoryStore(), mountPath: '/elsewhere' });
  const server = await startServer(t, 'express-http', handler, { mount: '/here' });
  for (const path of ['/here/key', '/elsewhere/key', '/elsewhereabouts']) await request(server, { path });
  await new Promise(setImmediate);
  t.deepEqual(warnings, []);
});

/** Protocol of which `result` is what route() returns. */
const protocolOf = (name: string, result: unknown): Protocol => ({ name, route: () => result as never });

const RESULTS: readonly (readonly [name: string, result: unknown, message: RegExp])[] = [
  [
    'unknown-kind',
    { kind: 'get', key: 'a' },
    /^protocols: result of 'unknown-kind': expected an object whose kind is one of read, upload, .*received \{ kind: 'get', key: 'a' \}$/,
  ],
  [
    'async-route',
    Promise.resolve({ kind: 'read', key: 'a' }),
    /^protocols: result of 'async-route': .*received Promise/,
  ],
  ['nothing', null, /^protocols: result of 'nothing': .*received null$/],
  [
    'no-reply',
    { kind: 'answer', needs: 'read', answer: () => 'ok' },
    /^protocols: reply of 'no-reply': expected an object with a status from 200 to 599, received 'ok'$/,
  ],
  [
    'wrong-reply',
    { kind: 'answer', needs: 'read', answer: () => ({ kind: 'get' }) },
    /^protocols: result of 'wrong-reply': .*received \{ kind: 'get' \}$/,
  ],
  [
    'upload-reply',
    { kind: 'upload', key: 'a', reply: async () => ({ status: 200 }) },
    /^protocols: reply of 'upload-reply': .*received Promise/,
  ],
];

for (const [name, result, message] of RESULTS) {
  test.serial(`a protocol that returns a wrong value (${name}) is answered with 500 and named`, async (t) => {
    const { statusOf, warning } = await start(t, { protocols: [protocolOf(name, result)], access: () => 'write' });
    t.is(await statusOf('PUT', '/a'), 500);
    t.regex(await warning(), message);
  });
}

test.serial('an access policy that returns a wrong value is answered with 500 and named', async (t) => {
  const { statusOf, warning } = await start(t, { access: (() => true) as never, protocols: [plain()] });
  t.is(await statusOf('GET', '/a'), 500);
  t.is(
    await warning(),
    "access: expected the policy to return 'none', 'read', 'write' or an object with a level, received a boolean",
  );
});

test.serial('a store that returns a wrong value is answered with 500 and named', async (t) => {
  const store: Store = { get: () => ({ kind: 'buffer' }) as unknown as Artifact };
  const { statusOf, warning } = await start(t, { store });
  t.is(await statusOf('GET', '/a'), 500);
  t.regex(await warning(), /^artifact: expected .*received \{ kind: 'buffer' \}$/);
});

const WRONG_STORES: Readonly<Record<string, readonly [store: object, method: string, message: RegExp]>> = {
  'get() returns a path': [{ get: () => '/a' }, 'GET', /^artifact: expected .*received '\/a'$/],
  'get() returns null': [
    { get: () => null },
    'GET',
    /^artifact: expected .*\(for a miss of a store: undefined\); received null$/,
  ],
  'put() returns nothing': [
    { get: () => undefined, put: async () => {} },
    'PUT',
    /^store\.put: expected \{ created, etag \}, received undefined$/,
  ],
  'get() throws a TypeError': [
    { get: () => (undefined as never as { a: object }).a },
    'GET',
    /^a request failed with a TypeError: Cannot read .*, at .*host-mistakes/,
  ],
};

for (const [mistake, [store, method, message]] of Object.entries(WRONG_STORES)) {
  test.serial(`a store whose ${mistake} is answered with 500 and named`, async (t) => {
    const { statusOf, warning } = await start(t, { store: store as Store });
    t.is(await statusOf(method, '/a'), 500);
    t.regex(await warning(), message);
  });
}

test.serial('handle() with a request and a response of Node is named', async (t) => {
  const warnings = collectWarnings(t);
  const handler = createHandler({ store: memoryStore() });
  t.teardown(() => handler.close());
  const server = await startListener(t, 'http', (incoming) => void handler.handle(incoming as never));
  await t.throwsAsync(request(server, { path: '/a' }));
  await until('the warning is emitted', () => warnings.length > 0);
  t.deepEqual(warnings, [
    'handler.handle: expected an exchange; for a request and a response, use nodeListener(handler) or the function of your framework',
  ]);
});

test.serial('a body parser in front of the handler is named', async (t) => {
  const warnings = collectWarnings(t);
  const handler = createHandler({ store: memoryStore() });
  const server = await startServer(t, 'express-http', handler, { before: express.text({ type: '*/*' }) as never });
  const { status } = await request(server, {
    method: 'PUT',
    path: '/key',
    headers: { 'content-type': 'text/plain' },
    body: Buffer.from('text'),
  });
  t.is(status, 500);
  await until('the warning is emitted', () => warnings.length > 0);
  t.regex(warnings.join(), /^request body: .*mount hotblob before body parsers/);
});

test.serial(
  'a file that the process may not read or write is answered with 403, and the first one is named',
  async (t) => {
    const dir = await temporaryDirectory(t);
    await chmod(dir, 0o755);
    const path = join(dir, 'closed');
    await writeFile(path, 'bytes');
    await chmod(path, 0);
    const store = await directoryStore(dir);
    t.teardown(() => store.close());
    const { statusOf, warning } = await start(t, { store });
    await chmod(dir, 0o555);
    await unprivileged(async () => {
      t.is(await statusOf('GET', '/closed'), 403);
      t.is(await statusOf('PUT', '/new'), 403);
      t.is(await statusOf('DELETE', '/closed'), 403);
    });
    t.is(
      await warning(),
      `EACCES: permission denied, open '${path}'; the process lacks permission, so such requests fail`,
    );
    await chmod(dir, 0o755);
  },
);

test.serial('for a build tool, a file that the process may not read is a miss, and an upload is skipped', async (t) => {
  const denied = Object.assign(new Error('EACCES: permission denied'), { code: 'EACCES' });
  const store: Store = { get: () => Promise.reject(denied), put: () => Promise.reject(denied) };
  const { statusOf } = await start(t, { store, protocols: [nx()] });
  t.is(await statusOf('GET', '/v1/cache/0123'), 404);
  t.is(await statusOf('PUT', '/v1/cache/0123'), 403);
});
