import { createHash } from 'node:crypto';
import { mkdir, readdir, rename, stat, symlink, truncate, unlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { staticTokens } from '../../src/access/static-tokens.js';
import type { Store } from '../../src/contract/store.js';
import { directoryStore } from '../../src/stores/directory/store.js';
import { assertBody, assertError, type Site } from '../behaviour/site.js';
import type { Request } from '../helpers/client.js';
import { testWith } from '../helpers/peers.js';
import { until } from '../helpers/poll.js';
import { content, temporaryDirectory } from '../stores/fixture.js';
import { startChild } from './tuist-server.js';
import { KINDS, largeStore, openTuist, PROJECT } from './tuist-site.js';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const HOUR_MS = 60 * 60 * 1000;
const MODULE_QUERY = `${PROJECT}&hash=0123456789abcdef&name=Module.xcframework.zip`;
const MODULE = `/api/cache/module/any?${MODULE_QUERY}`;

/** Returns functions that send the requests of a module upload. */
function client({ ask }: Pick<Site, 'ask'>, headers: Request['headers'] = {}) {
  const post = (route: string, query: string, body?: Request['body']) =>
    ask('POST', `/api/cache/module/${route}?${query}`, { body, headers });
  return {
    start: (query = MODULE_QUERY) => post('start', query),
    part: (id: string, number: number | string, body: Request['body']) =>
      post('part', `upload_id=${id}&part_number=${number}`, body),
    complete: (id: string, parts: unknown, rest: object = {}) =>
      post('complete', `upload_id=${id}`, Buffer.from(JSON.stringify({ parts, ...rest }))),
  };
}

/** Returns the upload id in the response to `start`. */
function idOf({ body }: { body: Buffer }): string {
  return JSON.parse(body.toString()).upload_id;
}

/** Returns the directory of an upload. */
function directoryOf(root: string, id: string): string {
  return join(root, id.slice(0, 32));
}

for (const kind of KINDS) {
  test(`${kind}: uploads a module in parts and returns it as a whole`, async (t) => {
    const uploadsDir = join(await temporaryDirectory(t), 'not', 'there', 'yet');
    const site = await openTuist(t, kind, { uploadsDir });
    const { start, part, complete } = client(site);
    t.is((await site.ask('HEAD', MODULE)).status, 404);
    assertError(t, await site.ask('GET', MODULE), 404);
    const started = await start();
    t.is(started.status, 200);
    const id = idOf(started);
    // In any order, and one part twice.
    t.is((await part(id, 10, content(3, 10))).status, 204);
    t.is((await part(id, 2, content(99, 99))).status, 204);
    t.is((await part(id, 2, content(10 * MIB, 2))).status, 204);
    t.is((await part(id, 1, content(100_000, 1))).status, 204);
    t.is((await site.ask('HEAD', MODULE)).status, 404, 'not before it is complete');
    const completed = await complete(id, [1, 2, 10]);
    t.is(completed.status, 204);
    t.deepEqual(await readdir(uploadsDir), [], 'the parts are removed');
    const whole = Buffer.concat([content(100_000, 1), content(10 * MIB, 2), content(3, 10)]);
    const found = await site.ask('GET', MODULE);
    t.is(found.status, 200);
    assertBody(t, found.body, whole);
    const range = await site.ask('GET', MODULE, { headers: { range: 'bytes=99998-100001' } });
    t.is(range.status, 206);
    assertBody(t, range.body, whole.subarray(99_998, 100_002));
    const head = await site.ask('HEAD', MODULE);
    t.is(head.status, 204);
    t.is(head.headers['accept-ranges'], 'bytes');
    t.is(head.headers['content-length'], undefined);

    for (const [version, status] of [
      [undefined, 200],
      ['4.201.9', 200],
      ['3.300.0', 200],
      ['four', 200],
      ['4.202.0', 204],
      ['4.202.0-rc.1', 204],
      ['5.0.0', 204],
    ] as const) {
      const again = await client(site, version === undefined ? {} : { 'x-tuist-cli-version': version }).start();
      t.is(again.status, status, version);
      t.is(again.body.toString(), status === 200 ? '{"upload_id":null}' : '');
    }
    for (const other of [
      `${MODULE_QUERY}&cache_category=selective`,
      MODULE_QUERY.replace('hash=0', 'hash=1'),
      `${MODULE_QUERY}s`,
    ]) {
      t.is((await site.ask('GET', `/api/cache/module/any?${other}`)).status, 404, other);
    }
    t.is((await site.ask('GET', `/api/cache/module/other?${MODULE_QUERY}&cache_category=builds`)).status, 200);
  });

  test(`${kind}: rejects invalid requests and unknown uploads`, async (t) => {
    const uploadsDir = await temporaryDirectory(t);
    const site = await openTuist(t, kind, { uploadsDir });
    const { start, part, complete } = client(site);
    for (const query of [
      PROJECT,
      `${PROJECT}&hash=h`,
      `${PROJECT}&name=n`,
      'hash=h&name=n',
      `${PROJECT}&hash=..&name=n`,
      `${PROJECT}&hash=h&name=a%2fb`,
      `${MODULE_QUERY}&cache_category=`,
    ]) {
      assertError(t, await start(query), 400);
      assertError(t, await site.ask('GET', `/api/cache/module/any?${query}`), 400);
      assertError(t, await site.ask('GET', `/api/cache/module/?${MODULE_QUERY}`), 400);
    }
    assertError(t, await start(`${PROJECT}&hash=h&name=${'n'.repeat(1000)}`), 414);
    const id = idOf(await start());
    for (const number of ['', '-1', '1.5', 'one', '4294967296', '0x1'])
      assertError(t, await part(id, number, content(1)), 400);
    assertError(t, await site.ask('POST', '/api/cache/module/part?part_number=1', { body: content(1) }), 400);
    for (const other of [
      'unknown',
      '0'.repeat(32),
      `${'0'.repeat(32)}.${id.slice(33)}`,
      `${id}A`,
      `${id.slice(0, 32)}.YS9i`,
      '../..',
      `${id.slice(0, 32)}.`,
    ]) {
      assertError(t, await part(encodeURIComponent(other), 1, content(1)), 404);
      assertError(t, await complete(encodeURIComponent(other), [1]), 404);
    }
    t.is((await part(id, 0, content(1))).status, 204);
    t.is((await part(id, 4294967295, content(1))).status, 204);
    for (const list of [
      [],
      [0],
      [4294967295, 0],
      [0, 1, 4294967295],
      [0, 0, 4294967295],
      ['0', '4294967295'],
      'all',
      {},
      null,
      undefined,
    ]) {
      assertError(t, await complete(id, list), 400);
    }
    for (const body of ['', '{', '[]']) {
      assertError(
        t,
        await site.ask('POST', `/api/cache/module/complete?upload_id=${id}`, { body: Buffer.from(body) }),
        400,
      );
    }
    t.is((await complete(id, [0, 4294967295])).status, 204);
    assertError(t, await complete(id, [0, 4294967295]), 404);
    assertError(t, await part(id, 1, content(1)), 404);
    for (const route of ['start', 'part', 'complete']) {
      const answer = await site.ask('GET', `/api/cache/module/${route}?${MODULE_QUERY}`);
      assertError(t, answer, 405);
      t.is(answer.headers.allow, 'POST');
    }
    t.deepEqual(await readdir(uploadsDir), []);
  });

  test(`${kind}: limits a part to 10 MiB, and an upload to 2 GiB and 1,000 parts`, async (t) => {
    const uploadsDir = await temporaryDirectory(t);
    const { start, part, complete } = client(await openTuist(t, kind, { uploadsDir }));
    const id = idOf(await start());
    const directory = directoryOf(uploadsDir, id);
    assertError(t, await part(id, 1, content(10 * MIB + 1)), 413);
    async function* chunked() {
      for (let count = 0; count < 11; count++) yield content(MIB);
    }
    assertError(t, await part(id, 1, chunked()), 413);
    t.deepEqual(await readdir(directory), ['upload.json'], 'the rejected parts are removed');
    // A sparse file takes no disk space.
    await writeFile(join(directory, 'part-1'), '');
    await truncate(join(directory, 'part-1'), 2 * GIB - 5);
    assertError(t, await part(id, 2, content(6)), 422);
    t.deepEqual((await readdir(directory)).sort(), ['part-1', 'upload.json']);
    t.is((await part(id, 2, content(5))).status, 204);
    t.is((await part(id, 2, content(5))).status, 204, 'replaces the part');
    // As if another process had received a part at the same time.
    await writeFile(join(directory, 'part-3'), 'x');
    assertError(t, await complete(id, [1, 2, 3]), 422);

    const many = idOf(await start());
    for (let number = 0; number < 1000; number++)
      await writeFile(join(directoryOf(uploadsDir, many), `part-${number}`), '');
    assertError(t, await part(many, 1000, content(1)), 422);
    t.is((await part(many, 999, content(1))).status, 204);
  });

  test(`${kind}: rejects a module that does not match its checksum`, async (t) => {
    const site = await openTuist(t, kind, { uploadsDir: await temporaryDirectory(t) });
    const { start, part, complete } = client(site);
    const id = idOf(await start());
    await part(id, 1, content(100_000));
    const checksum_sha256 = createHash('sha256').update(content(100_000)).digest('hex');
    assertError(t, await complete(id, [1], { checksum_sha256: 'abc' }), 400);
    assertError(t, await complete(id, [1], { checksum_sha256: checksum_sha256.replace(/./, 'x') }), 400);
    assertError(t, await complete(id, [1], { checksum_sha256: checksum_sha256.split('').reverse().join('') }), 422);
    t.is((await site.ask('GET', MODULE)).status, 404);
    t.is((await complete(id, [1], { checksum_sha256: checksum_sha256.toUpperCase() })).status, 204);
    const { headers, body } = await site.ask('GET', MODULE);
    t.is(headers['tuist-checksum-sha256'], checksum_sha256);
    assertBody(t, body, content(100_000));
  });

  test(`${kind}: one of several concurrent completes succeeds`, async (t) => {
    const site = await openTuist(t, kind, { uploadsDir: await temporaryDirectory(t) });
    const { start, part, complete } = client(site);
    const id = idOf(await start());
    const parts = [1, 2, 3, 4, 5];
    const responses = await Promise.all(parts.map((number) => part(id, number, content(MIB, number))));
    t.deepEqual(
      responses.map(({ status }) => status),
      [204, 204, 204, 204, 204],
    );
    const completed = await Promise.all(parts.map(() => complete(id, parts)));
    t.deepEqual(completed.map(({ status }) => status).sort(), [204, 404, 404, 404, 404]);
    assertBody(t, (await site.ask('GET', MODULE)).body, Buffer.concat(parts.map((number) => content(MIB, number))));
  });

  test(`${kind}: removes an incomplete part if the client disconnects`, async (t) => {
    const uploadsDir = await temporaryDirectory(t);
    const { ask } = await openTuist(t, kind, { uploadsDir });
    const { start } = client({ ask });
    const id = idOf(await start());
    const disconnect = new AbortController();
    async function* half() {
      yield content(MIB);
      await new Promise(() => {});
    }
    const sent = ask('POST', `/api/cache/module/part?upload_id=${id}&part_number=1`, {
      body: half(),
      signal: disconnect.signal,
    });
    const entries = () => readdir(directoryOf(uploadsDir, id));
    await until('the part is being written', async () => (await entries()).some((name) => name.endsWith('.tmp')));
    disconnect.abort();
    await t.throwsAsync(sent);
    await until('the incomplete part is removed', async () => (await entries()).join() === 'upload.json');
  });
}

test('removes expired uploads and no other directories', async (t) => {
  const uploadsDir = await temporaryDirectory(t);
  const { start, part, complete } = client(await openTuist(t, 'http', { uploadsDir }));
  const age = async (name: string, ms: number) => utimes(join(uploadsDir, name), new Date(), new Date(Date.now() - ms));
  const old = idOf(await start());
  await part(old, 1, content(1));
  const young = idOf(await start());
  await part(young, 1, content(1));
  await mkdir(join(uploadsDir, 'other-directory'));
  await mkdir(join(uploadsDir, `${'0'.repeat(32)}.new`));
  for (const name of ['other-directory', `${'0'.repeat(32)}.new`, old.slice(0, 32)])
    await age(name, 24 * HOUR_MS + 60_000);
  await age(young.slice(0, 32), 24 * HOUR_MS - 60_000);
  assertError(t, await part(old, 2, content(1)), 404);
  assertError(t, await complete(old, [1]), 404);
  const third = idOf(await start());
  t.deepEqual(
    (await readdir(uploadsDir)).sort(),
    ['other-directory', ...[young, third].map((id) => id.slice(0, 32))].sort(),
  );
  t.is((await part(young, 2, content(1))).status, 204);
  t.true(
    (await stat(directoryOf(uploadsDir, young))).mtimeMs > Date.now() - HOUR_MS,
    'a part restarts the expiry time',
  );
  t.is((await complete(young, [1, 2])).status, 204);
});

test('uploads start and continue although the files of other uploads cannot be read', async (t) => {
  const uploadsDir = await temporaryDirectory(t);
  const { start, part, complete } = client(await openTuist(t, 'http', { uploadsDir }));
  const names = [`${'0'.repeat(32)}.new`, `${'1'.repeat(32)}.old`, '2'.repeat(32)];
  for (const name of names) {
    await mkdir(join(uploadsDir, name));
    await writeFile(join(uploadsDir, name, 'upload.json'), '');
  }
  const id = idOf(await start());
  await part(id, 1, content(1));
  // While the directory is replaced by a symbolic link to itself, stat(2) fails with ELOOP.
  const directory = directoryOf(uploadsDir, id);
  await rename(directory, join(uploadsDir, 'aside'));
  await symlink(directory, directory);
  const second = idOf(await start());
  await unlink(directory);
  await rename(join(uploadsDir, 'aside'), directory);
  t.deepEqual((await readdir(uploadsDir)).sort(), [...names, ...[id, second].map((each) => each.slice(0, 32))].sort());
  t.is((await complete(id, [1])).status, 204);
});

test('applies uploadTtlMs and maxUploads', async (t) => {
  const uploadsDir = await temporaryDirectory(t);
  const { start, part, complete } = client(
    await openTuist(t, 'http', { uploadsDir, uploadTtlMs: HOUR_MS, maxUploads: 2 }),
  );
  const [first, second] = [idOf(await start()), idOf(await start())];
  const refused = await start();
  assertError(t, refused, 503);
  t.truthy(refused.headers['retry-after']);
  t.is((await part(first, 1, content(1))).status, 204, 'uploads in progress continue');
  t.is((await complete(first, [1])).status, 204);
  const other = MODULE_QUERY.replace('hash=0', 'hash=1');
  t.is((await start(other)).status, 200);
  assertError(t, await start(other), 503);
  await utimes(directoryOf(uploadsDir, second), new Date(), new Date(Date.now() - HOUR_MS - 60_000));
  t.is((await start(other)).status, 200);
});

test('a namespace gets a share of the unfinished uploads and of their bytes', async (t) => {
  const limits = { maxUploads: 32, maxPartsBytes: 4 * MIB };
  const site = await openTuist(t, 'http', { uploadsDir: await temporaryDirectory(t), ...limits });
  const { start, part, complete } = client(site);
  const ids = [];
  for (let count = 0; count < 8; count++) ids.push(idOf(await start()));
  assertError(t, await start(), 503);
  const [first = '', second = ''] = ids;
  t.is((await part(first, 1, content(MIB))).status, 204);
  assertError(t, await part(second, 1, content(1.5 * MIB)), 507);
  // Uploads of another namespace start, and their parts fit.
  const other = idOf(await start(MODULE_QUERY.replace('namespace_id=', 'namespace_id=other-')));
  t.is((await part(other, 1, content(1.5 * MIB))).status, 204);
  t.is((await complete(first, [1])).status, 204);
  t.is((await part(second, 1, content(1.5 * MIB))).status, 204, 'the other parts are removed');
});

test('a part reads only the directory of its own upload, and a new process counts all uploads once', async (t) => {
  const uploadsDir = await temporaryDirectory(t);
  const limits = { uploadsDir, maxPartsBytes: 2 * MIB };
  const first = client(await openTuist(t, 'http', limits));
  const [filled, own] = [idOf(await first.start()), idOf(await first.start())];
  await first.part(filled, 1, content(MIB));
  assertError(t, await first.part(own, 1, content(1)), 507);
  const { start, part, complete } = client(await openTuist(t, 'http', limits));
  assertError(t, await part(own, 1, content(1)), 507); // the first process has filled the space
  t.is((await complete(filled, [1])).status, 204);
  const other = idOf(await start(MODULE_QUERY.replace('hash=0', 'hash=1')));
  t.is((await part(own, 1, content(10))).status, 204);
  // If the part below read this directory, it would find too much in it.
  await truncate(join(directoryOf(uploadsDir, other), 'upload.json'), 0);
  await writeFile(join(directoryOf(uploadsDir, other), 'part-1'), '');
  await truncate(join(directoryOf(uploadsDir, other), 'part-1'), 4 * MIB);
  t.is((await part(own, 2, content(10))).status, 204);
  assertError(t, await part(own, 3, content(MIB - 8191)), 507); // each of the small parts counts as 4 KiB
  t.is((await part(own, 3, content(MIB - 3 * 4096))).status, 204);
  t.is((await part(own, 3, content(10))).status, 204, 'a failed part and a replaced part do not count');
});

test('parts count towards the limit of a directory store at once', async (t) => {
  const root = await temporaryDirectory(t);
  const store = await directoryStore(root, { maxBytes: 100 * MIB });
  await until('the first scan', () => store.stats().artifacts !== undefined);
  const before = store.stats().bytes ?? 0;
  const counted = () => (store.stats().bytes ?? 0) - before;
  const uploadsDir = join(root, '.hotblob', 'parts');
  const onPartsBytes = (change: number) => store.countBytes(change);
  const { start, part, complete } = client(await openTuist(t, 'http', { uploadsDir, onPartsBytes }));
  const id = idOf(await start());
  t.is((await part(id, 1, content(MIB))).status, 204);
  t.is(counted(), MIB);
  t.is((await part(id, 2, content(MIB))).status, 204);
  t.is(counted(), 2 * MIB);
  t.is((await part(id, 2, content(10))).status, 204);
  t.is(counted(), MIB + 4096, 'a replaced part does not count');
  t.is((await complete(id, [1, 2])).status, 204);
  t.is(counted(), 0);
  await store.close();
});

test('parts count while they arrive, and their space is free again if they fail', async (t) => {
  const uploadsDir = await temporaryDirectory(t);
  const site = await openTuist(t, 'http', { uploadsDir, maxPartsBytes: 4 * MIB });
  const { start, part } = client(site);
  const [first, second] = [idOf(await start()), idOf(await start())];
  const disconnect = new AbortController();
  async function* half() {
    yield content(1.5 * MIB);
    await new Promise(() => {});
  }
  const sent = site.ask('POST', `/api/cache/module/part?upload_id=${first}&part_number=1`, {
    body: half(),
    signal: disconnect.signal,
  });
  const arrived = async () => {
    const names = (await readdir(directoryOf(uploadsDir, first))).filter((name) => name.endsWith('.tmp'));
    const sizes = names.map(async (name) => (await stat(join(directoryOf(uploadsDir, first), name))).size);
    return (await Promise.all(sizes))[0] === 1.5 * MIB;
  };
  await until('half of the part has arrived', arrived);
  assertError(t, await part(second, 1, content(MIB)), 507);
  disconnect.abort();
  await t.throwsAsync(sent);
  await until('the space is free', async () => (await part(second, 1, content(2 * MIB))).status === 204);
});

test('keeps an upload if the store is full, and completes it later', async (t) => {
  const store = largeStore();
  let isFull = false;
  const full: Store = {
    ...store,
    put: async (key, body, options) => {
      if (isFull) throw Object.assign(new Error('full'), { code: 'ENOSPC' });
      return store.put(key, body, options);
    },
  };
  const site = await openTuist(t, 'http', { uploadsDir: await temporaryDirectory(t) }, { store: full });
  const { start, part, complete } = client(site);
  const id = idOf(await start());
  await part(id, 1, content(100_000));
  isFull = true;
  assertError(t, await complete(id, [1]), 507);
  isFull = false;
  t.is((await complete(id, [1])).status, 204);
  assertBody(t, (await site.ask('GET', MODULE)).body, content(100_000));
});

test('two processes receive parts of one upload', async (t) => {
  const [uploadsDir, store] = [await temporaryDirectory(t), largeStore()];
  const first = client(await openTuist(t, 'http', { uploadsDir }, { store }));
  const site = await openTuist(t, 'http', { uploadsDir }, { store });
  const second = client(site);
  const id = idOf(await first.start());
  await Promise.all([first.part(id, 1, content(10)), second.part(id, 2, content(20)), first.part(id, 3, content(30))]);
  const statuses = (await Promise.all([first.complete(id, [1, 2, 3]), second.complete(id, [1, 2, 3])])).map(
    ({ status }) => status,
  );
  t.true(statuses.includes(204) && statuses.every((status) => status === 204 || status === 404), statuses.join());
  assertBody(t, (await site.ask('GET', MODULE)).body, Buffer.concat([content(10), content(20), content(30)]));
});

test('parts require the same access as start', async (t) => {
  const access = staticTokens([
    { token: 'ios-0123456789abcdef', level: 'write', namespaces: ['acme/ios'] },
    { token: 'other-0123456789abcdef', level: 'write', namespaces: ['other/ios'] },
    { token: 'reader-0123456789abcdef', level: 'read' },
  ]);
  const site = await openTuist(t, 'http', { uploadsDir: await temporaryDirectory(t) }, { access });
  const as = (name: string) => client(site, { authorization: `Bearer ${name}-0123456789abcdef` });
  const id = idOf(await as('ios').start());
  for (const [name, status] of [
    ['other', 401],
    ['reader', 403],
  ] as const) {
    assertError(t, await as(name).start(), status);
    assertError(t, await as(name).part(id, 1, content(1)), status);
    assertError(t, await as(name).complete(id, [1]), status);
  }
  const forged = `${id.slice(0, 32)}.${Buffer.from('other/ios').toString('base64url')}`;
  assertError(t, await as('other').part(forged, 1, content(1)), 404);
  assertError(t, await as('other').complete(forged, [1]), 404);
  t.is((await as('ios').part(id, 1, content(1))).status, 204);
  t.is((await as('ios').complete(id, [1])).status, 204);
});

test('without uploadsDir, serves modules and answers uploads with 405', async (t) => {
  const store = largeStore();
  const { start, part, complete } = client(
    await openTuist(t, 'http', { uploadsDir: await temporaryDirectory(t) }, { store }),
  );
  const id = idOf(await start());
  await part(id, 1, content(10));
  await complete(id, [1]);
  const without = await openTuist(t, 'http', {}, { store });
  assertBody(t, (await without.ask('GET', MODULE)).body, content(10));
  t.is((await without.ask('HEAD', MODULE)).status, 204);
  assertError(t, await client(without).start(), 405);
  assertError(t, await client(without).part(id, 1, content(1)), 405);
});

test('continues an upload after the process was killed during a part', async (t) => {
  const [store, uploads] = [await temporaryDirectory(t), await temporaryDirectory(t)];
  const ask =
    (url: string): Site['ask'] =>
    async (method, path, { body } = {}) => {
      const response = await fetch(url + path, { method, body: body as Buffer });
      return { status: response.status, headers: {}, body: Buffer.from(await response.arrayBuffer()) };
    };
  const before = await startChild(t, store, uploads);
  const first = client({ ask: ask(before.url) });
  const id = idOf(await first.start());
  t.is((await first.part(id, 1, content(3 * MIB, 1))).status, 204);
  // The part is stored completely or not at all.
  const interrupted = first.part(id, 2, content(5 * MIB, 2)).catch(() => undefined);
  await until('the second part has begun', async () => (await readdir(directoryOf(uploads, id))).length > 2);
  await before.kill();
  await interrupted;
  const after = await startChild(t, store, uploads);
  const second = client({ ask: ask(after.url) });
  t.is((await second.part(id, 2, content(4 * MIB, 3))).status, 204);
  t.is((await second.complete(id, [1, 2])).status, 204);
  const found = await ask(after.url)('GET', MODULE);
  assertBody(t, found.body, Buffer.concat([content(3 * MIB, 1), content(4 * MIB, 3)]));
  t.deepEqual(await readdir(uploads), []);
});

testWith(test, 'mount')(
  'answers 507 if the disk is full, keeps the stored parts, and accepts a smaller part',
  async (t) => {
    const [store, uploads] = [await temporaryDirectory(t), await temporaryDirectory(t)];
    const child = await startChild(t, store, uploads, 8 * MIB);
    const ask: Site['ask'] = async (method, path, { body } = {}) => {
      const response = await fetch(child.url + path, { method, body: body as Buffer });
      return { status: response.status, headers: {}, body: Buffer.from(await response.arrayBuffer()) };
    };
    const { start, part, complete } = client({ ask });
    const id = idOf(await start());
    t.is((await part(id, 1, content(5 * MIB, 1))).status, 204);
    // Repeated, because a failed part must not leave bytes behind.
    for (let count = 0; count < 5; count++) t.is((await part(id, 2, content(5 * MIB, 2))).status, 507);
    t.is((await part(id, 2, content(2 * MIB, 3))).status, 204);
    t.is((await complete(id, [1, 2])).status, 204);
    assertBody(t, (await ask('GET', MODULE)).body, Buffer.concat([content(5 * MIB, 1), content(2 * MIB, 3)]));
  },
);
