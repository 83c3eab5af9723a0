import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import http from 'node:http';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { nodeListener } from '../../../src/adapters/node.js';
import { type ServeOptions, serve } from '../../../src/cli/serve/serve.js';
import { createStatusPages } from '../../../src/cli/serve/status-pages.js';
import { HotblobError } from '../../../src/contract/errors.js';
import type { PurgeOptions, PurgeResult } from '../../../src/contract/purge.js';
import type { Store } from '../../../src/contract/store.js';
import { temporaryDirectory } from '../../helpers/files.js';
import { until } from '../../helpers/poll.js';

const OPERATOR = 'ops-55c1a8e07b3f9d24';
const CI = 'ci-0b6f2c9a41d84e57';

async function start(t: ExecutionContext, options: Partial<ServeOptions> = {}): Promise<string> {
  const server = await serve({
    version: '1.2.3',
    kind: 'directory',
    dir: await temporaryDirectory(t),
    immutable: undefined,
    verifyReads: undefined,
    maxBytes: undefined,
    upstream: undefined,
    port: 0,
    host: '127.0.0.1',
    writable: true,
    protocols: ['nx', 'gradle', 'plain'],
    access: undefined,
    tls: undefined,
    ...options,
  });
  t.teardown(() => server.close());
  return `http://127.0.0.1:${server.port}`;
}

/** Serves the pages alone, over a store of the test. */
async function startPages(t: ExecutionContext, artifacts: Pick<Store, 'list' | 'purge'>) {
  const source = { stats: () => ({}) as never };
  const pages = createStatusPages({
    version: '1.2.3',
    handler: source,
    server: source,
    store: {},
    artifacts,
    access: undefined,
    overwrite: true,
    isDraining: () => false,
  });
  const server = http.createServer(nodeListener(pages));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as { port: number }; // listens on a port
  return { pages, url: `http://127.0.0.1:${port}` };
}

const post = (url: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(`${url}/_hotblob/purge`, {
    method: 'POST',
    body: typeof body === 'string' ? body : JSON.stringify(body),
    headers,
  });

const linesOf = async (response: Response): Promise<Record<string, unknown>[]> =>
  (await response.text())
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));

async function access(t: ExecutionContext, lines: string): Promise<NonNullable<ServeOptions['access']>> {
  const file = join(await temporaryDirectory(t), 'tokens');
  await writeFile(file, lines, { mode: 0o600 });
  return { tokens: file, anonymous: undefined } as NonNullable<ServeOptions['access']>;
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

for (const kind of ['directory', 'segments'] as const) {
  test(`${kind}: purges what matches, and lists the rest`, async (t) => {
    const url = await start(t, { kind });
    for (const key of ['1', '2']) await fetch(`${url}/v1/cache/${key}`, { method: 'PUT', body: 'nx' });
    await fetch(`${url}/plain-key`, { method: 'PUT', body: 'plain' });
    const dry = await post(url, { protocol: 'nx', dryRun: true });
    t.is(dry.headers.get('content-type'), 'application/x-ndjson');
    t.deepEqual((await linesOf(dry)).at(-1), { done: true, artifacts: 2, bytes: 4, dryRun: true });
    t.deepEqual((await linesOf(await post(url, { olderThanMs: 60_000 }))).at(-1), {
      done: true,
      artifacts: 0,
      bytes: 0,
      dryRun: false,
    });
    const all = await linesOf(await fetch(`${url}/_hotblob/artifacts`));
    t.deepEqual(all.at(-1), { done: true, artifacts: 3, bytes: 9 });
    t.deepEqual((await linesOf(await post(url, { scope: 'def*', protocol: 'nx' }))).at(-1), {
      done: true,
      artifacts: 2,
      bytes: 4,
      dryRun: false,
    });
    const [left, end, ...rest] = await linesOf(await fetch(`${url}/_hotblob/artifacts?scope=default`));
    t.deepEqual([end, rest], [{ done: true, artifacts: 1, bytes: 5 }, []]);
    const { usedAt, ...artifact } = left ?? {};
    t.deepEqual(artifact, {
      key: 'plain-key',
      scope: 'default',
      protocol: 'plain',
      namespace: null,
      bytes: 5,
      subject: null,
    });
    t.true(Math.abs(Number(usedAt) - Date.now()) < 600_000);
    t.deepEqual(await linesOf(await fetch(`${url}/_hotblob/artifacts?protocol=gradle`)), [
      { done: true, artifacts: 0, bytes: 0 },
    ]);
    t.is((await fetch(`${url}/_hotblob/artifacts`, { method: 'HEAD' })).status, 200);
  });
}

const INVALID: readonly (readonly [unknown, RegExp])[] = [
  ['', /^body: expected a JSON object, such as/],
  ['[]', /^body: expected a JSON object/],
  [{}, /^body: expected one of scope, namespace, protocol, olderThanMs, or "all": true/],
  [{ all: false }, /"all": true to purge all artifacts$/],
  [{ scoep: 'a' }, /^body: unknown member 'scoep' \(did you mean scope\?\); expected one of scope, .*dryRun$/],
  [{ scope: '' }, /^body: scope: expected a text that is not empty, received ""$/],
  [{ namespace: 7 }, /^body: namespace: expected a text that is not empty, received 7$/],
  [{ protocol: 'nxx' }, /^body: protocol: unknown protocol 'nxx' \(did you mean nx\?\)/],
  [{ olderThanMs: -1 }, /^body: olderThanMs: expected a whole number of milliseconds, 0 or more, received -1$/],
  [{ olderThanMs: '30d' }, /received "30d"$/],
  [{ all: true, dryRun: 'yes' }, /^body: dryRun: expected true or false, received "yes"$/],
];

test('an invalid body is answered with 400 and a sentence, and purges nothing', async (t) => {
  const url = await start(t);
  await fetch(`${url}/key`, { method: 'PUT', body: 'body' });
  for (const [body, message] of INVALID) {
    const response = await post(url, body);
    t.is(response.status, 400);
    t.regex(((await response.json()) as { message: string }).message, message);
  }
  t.is((await post(url, 'x'.repeat(20_000))).status, 413);
  t.is((await fetch(`${url}/_hotblob/purge`)).status, 405);
  t.is((await fetch(`${url}/_hotblob/purge`)).headers.get('allow'), 'POST');
  t.is((await fetch(`${url}/_hotblob/artifacts`, { method: 'POST' })).status, 405);
  t.is((await fetch(`${url}/_hotblob/artifacts?protocl=nx`)).status, 400);
  t.is((await fetch(`${url}/key`)).status, 200);
});

test('web pages of other origins cannot purge', async (t) => {
  const url = await start(t);
  for (const headers of [{ origin: 'https://evil.example' }, { origin: 'null' }, { 'sec-fetch-site': 'cross-site' }]) {
    t.is((await post(url, { all: true }, headers as Record<string, string>)).status, 403);
  }
});

const ACCESS: readonly (readonly [string, string, Record<string, string>, number])[] = [
  ['without a token', `write ${CI}\n`, {}, 401],
  ['with read access', `read ${CI}\n`, bearer(CI), 403],
  ['with write access', `write ${CI}\n`, bearer(CI), 200],
  ['with a token for one namespace', `write ${CI} namespaces=web\n`, bearer(CI), 401],
  ['with a token for another protocol', `write ${CI} protocols=nx\n`, bearer(CI), 401],
  ['with a token of a scope', `write ${CI} scope=main\n`, bearer(CI), 401],
  ['with write access beside tokens with scopes', `write ${CI}\nwrite ${OPERATOR} scope=main\n`, bearer(CI), 403],
  ['with write-once', `write ${CI} write-once\n`, bearer(CI), 403],
  [
    'with a token for operators',
    `write ${CI} scope=main\nwrite ${OPERATOR} protocols=hotblob\n`,
    bearer(OPERATOR),
    200,
  ],
  [
    'with a token for operators with write-once',
    `write ${OPERATOR} protocols=hotblob write-once\n`,
    bearer(OPERATOR),
    403,
  ],
];

for (const [who, lines, headers, status] of ACCESS) {
  test(`a purge ${who} is answered with ${status}`, async (t) => {
    const url = await start(t, { access: await access(t, lines) });
    t.is((await post(url, { all: true }, headers)).status, status);
  });
}

test('with --write-once, only a token for operators can purge', async (t) => {
  const lines = `write ${CI}\nwrite ${OPERATOR} protocols=hotblob\n`;
  const url = await start(t, { writeOnce: true, access: await access(t, lines) });
  const refused = await post(url, { all: true }, bearer(CI));
  t.is(refused.status, 403);
  t.regex(((await refused.json()) as { message: string }).message, /cannot be replaced or deleted/);
  t.is((await post(url, { all: true }, bearer(OPERATOR))).status, 200);
  const open = await start(t, { writeOnce: true });
  t.is((await post(open, { all: true })).status, 403);
});

test('a server that is read-only is not purged', async (t) => {
  const url = await start(t, { writable: false });
  const response = await post(url, { all: true });
  t.is(response.status, 405);
  t.regex(((await response.json()) as { message: string }).message, /read-only/);
});

/** Store whose purge waits for its signal, or for `end`. */
function slowStore() {
  let end = (_result: PurgeResult | Error): void => {};
  const calls: PurgeOptions[] = [];
  const purge = (_filter: object, options: PurgeOptions = {}): Promise<PurgeResult> => {
    if (calls.length > 0) throw new HotblobError('ERR_HOTBLOB_PURGING', 'another purge is running');
    calls.push(options);
    options.onProgress?.({ scanned: 3, artifacts: 2, bytes: 1 });
    return new Promise((resolve, reject) => {
      end = (result) => (result instanceof Error ? reject(result) : resolve(result));
      options.signal?.addEventListener('abort', () => reject(options.signal?.reason));
    });
  };
  return {
    calls,
    store: { purge: async (...args: Parameters<typeof purge>) => purge(...args) },
    end: (result: PurgeResult | Error) => end(result),
  };
}

test('progress is sent while a purge runs, and a second purge is answered with 409', async (t) => {
  const { store, end } = slowStore();
  const { url } = await startPages(t, store);
  const response = await post(url, { all: true });
  const second = await post(url, { all: true });
  t.is(second.status, 409);
  t.regex(((await second.json()) as { message: string }).message, /Another purge is running/);
  end({ artifacts: 4, bytes: 5 });
  const lines = await linesOf(response);
  t.deepEqual(lines[0], { scanned: 3, artifacts: 2, bytes: 1 });
  t.deepEqual(lines.at(-1), { done: true, artifacts: 4, bytes: 5, dryRun: false });
});

test('a client that disconnects stops its purge', async (t) => {
  const { store, calls } = slowStore();
  const { url } = await startPages(t, store);
  const controller = new AbortController();
  const response = await fetch(`${url}/_hotblob/purge`, {
    method: 'POST',
    body: '{"all":true}',
    signal: controller.signal,
  });
  t.is(response.status, 200);
  controller.abort();
  await until('the purge is stopped', () => calls[0]?.signal?.aborted === true);
  await response.text().catch(() => {});
  t.pass();
});

test('a server that shuts down stops a purge and a listing, and says so', async (t) => {
  const { store, calls } = slowStore();
  const entry = { key: 'nx/1', artifact: { kind: 'bytes', bytes: Buffer.of() }, size: 1, usedAt: 0 } as const;
  const list = async function* () {
    for (;;) {
      yield entry;
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const { url, pages } = await startPages(t, { ...store, list });
  const response = await post(url, { all: true });
  const listing = await fetch(`${url}/_hotblob/artifacts`);
  await until('the purge runs', () => calls.length > 0);
  pages.close();
  const end = { error: 'The server is shutting down.', code: 'ERR_HOTBLOB_CLOSED' };
  t.deepEqual((await linesOf(response)).at(-1), end);
  t.deepEqual((await linesOf(listing)).at(-1), end);
});

test('a store that fails before the first line has a status, and later an error line without details', async (t) => {
  const error = new Error('secret path /srv/x');
  const { url } = await startPages(t, { purge: async () => Promise.reject(error) });
  t.is((await post(url, { all: true })).status, 500);
  const { store, end } = slowStore();
  const slow = await startPages(t, store);
  const response = await post(slow.url, { all: true });
  end(error);
  t.deepEqual((await linesOf(response)).at(-1), { error: 'Internal server error.' });
});

test('a store that cannot list is answered with 501, one that cannot purge with 405', async (t) => {
  const { url } = await startPages(t, {});
  const response = await fetch(`${url}/_hotblob/artifacts`);
  t.is(response.status, 501);
  t.regex(((await response.json()) as { message: string }).message, /cannot list its artifacts/);
  t.is((await post(url, { all: true })).status, 405);
});

test('a listing waits for its client, and ends when the client disconnects', async (t) => {
  let listed = 0;
  let hasEnded = false;
  const key = `nx/${'k'.repeat(1000)}`;
  const list = async function* () {
    try {
      for (;;) {
        listed++;
        yield { key, artifact: { kind: 'bytes', bytes: Buffer.of() }, size: 1, usedAt: 0 } as const;
      }
    } finally {
      hasEnded = true;
    }
  };
  const { url } = await startPages(t, { list });
  const request = http.get(`${url}/_hotblob/artifacts`);
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  response.pause();
  let before = -1;
  await until('the listing waits', async () => {
    const isWaiting = before === listed;
    before = listed;
    await new Promise((resolve) => setTimeout(resolve, 100));
    return isWaiting;
  });
  t.true(listed < 100_000);
  request.on('error', () => {}).destroy();
  await until('the listing has ended', () => hasEnded);
});

test('a body that is too long, in chunks of unknown number, is answered with 413 and does not end the server', async (t) => {
  const url = new URL(await start(t));
  const request = http.request(url, { method: 'POST', path: '/_hotblob/purge' });
  const answered = once(request, 'response') as Promise<[http.IncomingMessage]>;
  for (let index = 0; index < 20; index++) request.write('x'.repeat(10_000));
  const [response] = await answered;
  response.resume();
  t.is(response.statusCode, 413);
  request.destroy();
  t.is((await fetch(new URL('/_hotblob/live', url))).status, 200);
});
