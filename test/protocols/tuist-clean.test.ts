import { Readable } from 'node:stream';
import test from 'ava';
import type { Store } from '../../src/contract/store.js';
import type { ProtocolArtifacts } from '../../src/protocols/protocol.js';
import { Generations } from '../../src/protocols/tuist/generations.js';
import { directoryStore } from '../../src/stores/directory/store.js';
import { assertBody, assertError } from '../behaviour/site.js';
import { until } from '../helpers/poll.js';
import { content, temporaryDirectory } from '../stores/fixture.js';
import { KINDS, largeStore, openTuist, SCOPE } from './tuist-site.js';

const OTHER_SCOPE = 'tenant_id=acme&namespace_id=android';
const CLEAN = `/api/cache/clean?${SCOPE}`;
const ARTIFACT = `/api/cache/gradle/a?${SCOPE}`;
const body = content(1000);
const neverAborted = new AbortController().signal;

for (const kind of KINDS) {
  test(`${kind}: what has been cleaned is gone, and all else is there`, async (t) => {
    const { ask } = await openTuist(t, kind, { uploadsDir: await temporaryDirectory(t) });
    const other = `/api/cache/gradle/a?${OTHER_SCOPE}`;
    const uploads = [
      ['POST', `/api/cache/cas/a?${SCOPE}`],
      ['PUT', ARTIFACT],
      ['PUT', `/v1/cache/1?${SCOPE}`],
      ['PUT', `/api/metro/cache/a?${SCOPE}`],
    ] as const;
    for (const [method, path] of [...uploads, ['PUT', other] as const]) await ask(method, path, { body });
    const keyValue = Buffer.from('{"cas_id":"a","entries":[]}');
    t.is((await ask('PUT', `/api/cache/keyvalue?${SCOPE}`, { body: keyValue })).status, 204);
    const module = `/api/cache/module/a?${SCOPE}&hash=h&name=n`;
    const start = await ask('POST', `/api/cache/module/start?${SCOPE}&hash=h&name=n`);
    const id = JSON.parse(start.body.toString()).upload_id;
    t.is((await ask('POST', `/api/cache/module/part?upload_id=${id}&part_number=1`, { body })).status, 204);
    const parts = Buffer.from('{"parts":[1]}');
    t.is((await ask('POST', `/api/cache/module/complete?upload_id=${id}`, { body: parts })).status, 204);
    const paths = [...uploads.map(([, path]) => path), `/api/cache/keyvalue/a?${SCOPE}`, module];
    for (const path of paths) t.is((await ask('GET', path)).status, 200, path);

    const cleaned = await ask('DELETE', CLEAN);
    t.is(cleaned.status, 204);
    t.is(cleaned.body.byteLength, 0);
    for (const path of paths) t.is((await ask('GET', path)).status, 404, path);
    t.is((await ask('HEAD', module)).status, 404);
    assertBody(t, (await ask('GET', other)).body, body);

    t.is((await ask('PUT', ARTIFACT, { body: content(10) })).status, 201, 'it is new again');
    assertBody(t, (await ask('GET', ARTIFACT)).body, content(10));
    t.is((await ask('DELETE', CLEAN)).status, 204);
    t.is((await ask('DELETE', CLEAN)).status, 204, 'also where nothing is');
    t.is((await ask('GET', ARTIFACT)).status, 404);
  });
}

test('another process that shares the store sees it soon, and after a restart nothing comes back', async (t) => {
  const directory = await temporaryDirectory(t);
  const stores = [await directoryStore(directory), await directoryStore(directory), await directoryStore(directory)];
  const [first, second] = [
    await openTuist(t, 'http', {}, { store: stores[0] as Store }),
    await openTuist(t, 'http', {}, { store: stores[1] as Store }),
  ];
  t.is((await first.ask('PUT', ARTIFACT, { body })).status, 201);
  await until('the other process finds it', async () => (await second.ask('GET', ARTIFACT)).status === 200);
  t.is((await first.ask('DELETE', CLEAN)).status, 204);
  await until('the other process has lost it', async () => (await second.ask('GET', ARTIFACT)).status === 404);
  t.is((await first.ask('PUT', ARTIFACT, { body: content(10) })).status, 201);
  const restarted = await openTuist(t, 'http', {}, { store: stores[2] as Store });
  assertBody(t, (await restarted.ask('GET', ARTIFACT)).body, content(10));
  for (const store of stores) await store.close();
});

test('an upload that has begun before does not come back with its end', async (t) => {
  const store = largeStore();
  let onPut = (): void => {};
  const begun = new Promise<void>((resolve) => {
    onPut = resolve;
  });
  const watched: Store = {
    ...store,
    put: (key, upload, options) => {
      if (key.includes('/gradle/slow')) onPut();
      return store.put(key, upload, options);
    },
  };
  const { ask } = await openTuist(t, 'http', {}, { store: watched });
  let goOn = (): void => {};
  const gate = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  async function* slowly() {
    yield body;
    await gate;
    yield body;
  }
  const slow = `/api/cache/gradle/slow?${SCOPE}`;
  const uploading = ask('PUT', slow, { body: slowly() });
  await begun;
  t.is((await ask('DELETE', CLEAN)).status, 204);
  goOn();
  t.is((await uploading).status, 201);
  t.is((await ask('GET', slow)).status, 404);
});

test('where the mark of a generation is lost, the namespace is empty: nothing that was cleaned comes back', async (t) => {
  const store = largeStore();
  const before = await openTuist(t, 'http', {}, { store });
  t.is((await before.ask('PUT', ARTIFACT, { body })).status, 201);
  t.is((await before.ask('DELETE', CLEAN)).status, 204);
  for (const mark of ['', '/'.repeat(32), 'a'.repeat(31)]) {
    await store.delete('tuist/acme/ios/generation');
    if (mark !== '') {
      await store.put('tuist/acme/ios/generation', Readable.from([mark]), { signal: neverAborted });
    }
    const after = await openTuist(t, 'http', {}, { store });
    t.is((await after.ask('GET', ARTIFACT)).status, 404);
    t.is((await after.ask('PUT', ARTIFACT, { body: content(10) })).status, 201);
    assertBody(t, (await after.ask('GET', ARTIFACT)).body, content(10));
  }
});

test('a read-only store cannot be cleaned, and serves what is there', async (t) => {
  const store = largeStore();
  const writable = await openTuist(t, 'http', {}, { store });
  t.is((await writable.ask('PUT', ARTIFACT, { body })).status, 201);
  const { get } = store;
  const { ask } = await openTuist(t, 'http', { uploadsDir: await temporaryDirectory(t) }, { store: { get } });
  assertBody(t, (await ask('GET', ARTIFACT)).body, body);
  assertError(t, await ask('DELETE', CLEAN), 405);
  assertError(t, await ask('PUT', ARTIFACT, { body }), 405);
  assertError(t, await ask('POST', `/api/cache/module/start?${SCOPE}&hash=h&name=n`), 405);
});

test('a clean that fails changes nothing', async (t) => {
  const store = largeStore();
  let isFull = false;
  const full: Store = {
    ...store,
    put: (key, upload, options) => {
      if (!isFull) return store.put(key, upload, options);
      upload.destroy();
      return Promise.reject(Object.assign(new Error('full'), { code: 'ENOSPC' }));
    },
  };
  const { ask } = await openTuist(t, 'http', {}, { store: full });
  t.is((await ask('PUT', ARTIFACT, { body })).status, 201);
  isFull = true;
  assertError(t, await ask('DELETE', CLEAN), 507);
  assertBody(t, (await ask('GET', ARTIFACT)).body, body);
});

test('the mark is looked up once a second, and not for every request', async (t) => {
  const store = largeStore();
  let lookups = 0;
  const counting: Store = {
    ...store,
    get: (key, options) => {
      if (key.endsWith('/generation')) lookups++;
      return store.get(key, options);
    },
  };
  const { ask } = await openTuist(t, 'http', {}, { store: counting });
  t.is((await ask('PUT', ARTIFACT, { body })).status, 201);
  const before = lookups;
  const startedAt = performance.now();
  for (let count = 0; count < 100; count++) t.is((await ask('GET', ARTIFACT)).status, 200);
  t.true(lookups - before <= 1 + (performance.now() - startedAt) / 1000, `${lookups - before} lookups`);
});

test('uploads that come at the same moment into an empty namespace agree on its generation', async (t) => {
  const marks = new Map<string, string>();
  const artifacts = {
    read: async (key: string) => {
      const mark = marks.get(key);
      return mark && Buffer.from(mark);
    },
    put: async (key: string, upload: Readable) => void marks.set(key, (await upload.toArray()).join('')),
  } as unknown as ProtocolArtifacts;
  const generations = new Generations();
  const found = await Promise.all(Array.from({ length: 20 }, () => generations.ensure('a/b', artifacts)));
  t.deepEqual(new Set(found), new Set([marks.get('a/b/generation')]));
});

test('a look that began before a clean does not bring the old generation back', async (t) => {
  const marks = new Map<string, string>();
  const answers: ((mark: string | undefined) => void)[] = [];
  let isSlow = false;
  // What reads see is decided when they begin; when they answer, by the test.
  const artifacts = {
    read: (key: string) => {
      const seen = marks.get(key);
      const bytes = (mark: string | undefined) => mark && Buffer.from(mark);
      if (!isSlow) return Promise.resolve(bytes(seen));
      return new Promise((resolve) => answers.push(() => resolve(bytes(seen))));
    },
    put: async (key: string, upload: Readable) => void marks.set(key, (await upload.toArray()).join('')),
  } as unknown as ProtocolArtifacts;
  await new Generations().renew('a/b', artifacts);
  const old = marks.get('a/b/generation');
  const generations = new Generations();
  isSlow = true;
  const finding = generations.find('a/b', artifacts);
  t.is(answers.length, 1);
  await generations.renew('a/b', artifacts);
  answers[0]?.(undefined);
  const found = await finding;
  t.not(found, old);
  t.is(found, marks.get('a/b/generation'));
  t.is(generations.peek('a/b'), found);
});

test('what is remembered is bounded', async (t) => {
  const artifacts = {
    put: async (_key: string, upload: Readable) => void upload.resume(),
  } as unknown as ProtocolArtifacts;
  const generations = new Generations();
  for (let index = 0; index < 1025; index++) await generations.renew(`a/${index}`, artifacts);
  t.is(generations.peek('a/0'), undefined);
  t.truthy(generations.peek('a/1024'));
});
