import { Readable } from 'node:stream';
import test from 'ava';
import type { Store } from '../../src/contract/store.js';
import type { Operation, ProtocolArtifacts, Reply, ScopeArtifacts } from '../../src/protocols/protocol.js';
import { Generations } from '../../src/protocols/tuist/generations.js';
import { directoryStore } from '../../src/stores/directory/store.js';
import { assertBody, assertError } from '../behaviour/site.js';
import { until } from '../helpers/poll.js';
import { content, temporaryDirectory } from '../stores/fixture.js';
import { KINDS, largeStore, openTuist, PROJECT } from './tuist-site.js';

const OTHER_PROJECT = 'tenant_id=acme&namespace_id=android';
const CLEAN = `/api/cache/clean?${PROJECT}`;
const ARTIFACT = `/api/cache/gradle/a?${PROJECT}`;
const body = content(1000);
const neverAborted = new AbortController().signal;

for (const kind of KINDS) {
  test(`${kind}: clean removes every artifact of the namespace and no other`, async (t) => {
    const { ask } = await openTuist(t, kind, { uploadsDir: await temporaryDirectory(t) });
    const other = `/api/cache/gradle/a?${OTHER_PROJECT}`;
    const uploads = [
      ['POST', `/api/cache/cas/a?${PROJECT}`],
      ['PUT', ARTIFACT],
      ['PUT', `/v1/cache/1?${PROJECT}`],
      ['PUT', `/api/metro/cache/a?${PROJECT}`],
    ] as const;
    for (const [method, path] of [...uploads, ['PUT', other] as const]) await ask(method, path, { body });
    const keyValue = Buffer.from('{"cas_id":"a","entries":[]}');
    t.is((await ask('PUT', `/api/cache/keyvalue?${PROJECT}`, { body: keyValue })).status, 204);
    const module = `/api/cache/module/a?${PROJECT}&hash=h&name=n`;
    const start = await ask('POST', `/api/cache/module/start?${PROJECT}&hash=h&name=n`);
    const id = JSON.parse(start.body.toString()).upload_id;
    t.is((await ask('POST', `/api/cache/module/part?upload_id=${id}&part_number=1`, { body })).status, 204);
    const parts = Buffer.from('{"parts":[1]}');
    t.is((await ask('POST', `/api/cache/module/complete?upload_id=${id}`, { body: parts })).status, 204);
    const paths = [...uploads.map(([, path]) => path), `/api/cache/keyvalue/a?${PROJECT}`, module];
    for (const path of paths) t.is((await ask('GET', path)).status, 200, path);

    const cleaned = await ask('DELETE', CLEAN);
    t.is(cleaned.status, 204);
    t.is(cleaned.body.byteLength, 0);
    for (const path of paths) t.is((await ask('GET', path)).status, 404, path);
    t.is((await ask('HEAD', module)).status, 404);
    assertBody(t, (await ask('GET', other)).body, body);

    t.is((await ask('PUT', ARTIFACT, { body: content(10) })).status, 201, 'the upload creates the artifact again');
    assertBody(t, (await ask('GET', ARTIFACT)).body, content(10));
    t.is((await ask('DELETE', CLEAN)).status, 204);
    t.is((await ask('DELETE', CLEAN)).status, 204, 'clean of an empty namespace');
    t.is((await ask('GET', ARTIFACT)).status, 404);
  });
}

test('other processes see a clean, and cleaned artifacts do not reappear after a restart', async (t) => {
  const directory = await temporaryDirectory(t);
  const stores = [await directoryStore(directory), await directoryStore(directory), await directoryStore(directory)];
  const [first, second] = [
    await openTuist(t, 'http', {}, { store: stores[0] as Store }),
    await openTuist(t, 'http', {}, { store: stores[1] as Store }),
  ];
  t.is((await first.ask('PUT', ARTIFACT, { body })).status, 201);
  await until('the other process finds the artifact', async () => (await second.ask('GET', ARTIFACT)).status === 200);
  t.is((await first.ask('DELETE', CLEAN)).status, 204);
  await until('the other process sees the clean', async () => (await second.ask('GET', ARTIFACT)).status === 404);
  t.is((await first.ask('PUT', ARTIFACT, { body: content(10) })).status, 201);
  const restarted = await openTuist(t, 'http', {}, { store: stores[2] as Store });
  assertBody(t, (await restarted.ask('GET', ARTIFACT)).body, content(10));
  for (const store of stores) await store.close();
});

test('an upload that started before a clean is not visible after it', async (t) => {
  const store = largeStore();
  let onPut = (): void => {};
  const started = new Promise<void>((resolve) => {
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
  let resume = (): void => {};
  const gate = new Promise<void>((resolve) => {
    resume = resolve;
  });
  async function* slowBody() {
    yield body;
    await gate;
    yield body;
  }
  const slow = `/api/cache/gradle/slow?${PROJECT}`;
  const uploading = ask('PUT', slow, { body: slowBody() });
  await started;
  t.is((await ask('DELETE', CLEAN)).status, 204);
  resume();
  t.is((await uploading).status, 201);
  t.is((await ask('GET', slow)).status, 404);
});

test('the namespace is empty if its generation is lost, and cleaned artifacts do not reappear', async (t) => {
  const store = largeStore();
  const before = await openTuist(t, 'http', {}, { store });
  t.is((await before.ask('PUT', ARTIFACT, { body })).status, 201);
  t.is((await before.ask('DELETE', CLEAN)).status, 204);
  for (const generation of ['', '/'.repeat(32), 'a'.repeat(31)]) {
    await store.delete('tuist/acme/ios/generation');
    if (generation !== '') {
      await store.put('tuist/acme/ios/generation', Readable.from([generation]), { signal: neverAborted });
    }
    const after = await openTuist(t, 'http', {}, { store });
    t.is((await after.ask('GET', ARTIFACT)).status, 404);
    t.is((await after.ask('PUT', ARTIFACT, { body: content(10) })).status, 201);
    assertBody(t, (await after.ask('GET', ARTIFACT)).body, content(10));
  }
});

test('serves a read-only store and answers clean with 405', async (t) => {
  const store = largeStore();
  const writable = await openTuist(t, 'http', {}, { store });
  t.is((await writable.ask('PUT', ARTIFACT, { body })).status, 201);
  const { get } = store;
  const { ask } = await openTuist(t, 'http', { uploadsDir: await temporaryDirectory(t) }, { store: { get } });
  assertBody(t, (await ask('GET', ARTIFACT)).body, body);
  assertError(t, await ask('DELETE', CLEAN), 405);
  assertError(t, await ask('PUT', ARTIFACT, { body }), 405);
  assertError(t, await ask('POST', `/api/cache/module/start?${PROJECT}&hash=h&name=n`), 405);
});

test('a failed clean changes nothing', async (t) => {
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

test('reads the generation once per second, not for every request', async (t) => {
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

test('concurrent uploads into an empty namespace use the same generation', async (t) => {
  const stored = new Map<string, string>();
  const artifacts = artifactsOf(stored, async (key) => {
    const generation = stored.get(key);
    return generation === undefined ? undefined : Buffer.from(generation);
  });
  const generations = new Generations();
  const found = await Promise.all(Array.from({ length: 20 }, () => generations.ensure('a/b', artifacts)));
  t.deepEqual(new Set(found), new Set([stored.get('a/b/generation')]));
});

test('a read that started before a clean does not restore the old generation', async (t) => {
  const stored = new Map<string, string>();
  const pending: (() => void)[] = [];
  let isSlow = false;
  // A read returns the value at its start. The test decides when it resolves.
  const artifacts = artifactsOf(stored, (key) => {
    const generation = stored.get(key);
    const bytes = generation === undefined ? undefined : Buffer.from(generation);
    if (!isSlow) return Promise.resolve(bytes);
    return new Promise((resolve) => pending.push(() => resolve(bytes)));
  });
  await new Generations().renew('a/b', artifacts);
  const old = stored.get('a/b/generation');
  const generations = new Generations();
  isSlow = true;
  const finding = keyIn(generations, 'a/b', artifacts);
  t.is(pending.length, 1);
  await generations.renew('a/b', artifacts);
  pending[0]?.();
  const found = await finding;
  t.not(found, `a/b/${old}/key`);
  t.is(found, `a/b/${stored.get('a/b/generation')}/key`);
  t.is(keyIn(generations, 'a/b', artifacts), found, 'from memory');
});

test('a corrupt generation that may not be replaced is an error', async (t) => {
  const artifacts = artifactsOf(new Map(), async () => Buffer.from('corrupt'));
  const once = { ...artifacts, overwrite: false, put: async () => ({ wasKept: true }) };
  await t.throwsAsync(new Generations().ensure('a/b', once), {
    code: 'ERR_HOTBLOB_CORRUPT',
    message: /^a\/b\/generation: /,
  });
});

test('the number of generations in memory is bounded', async (t) => {
  const artifacts = artifactsOf(new Map(), async () => undefined);
  const generations = new Generations();
  for (let index = 0; index < 1025; index++) await generations.renew(`a/${index}`, artifacts);
  t.is(await keyIn(generations, 'a/0', artifacts), 'a/0/none/key');
  t.regex(String(keyIn(generations, 'a/1024', artifacts)), /^a\/1024\/[0-9a-f]{32}\/key$/);
});

/** Returns artifacts of the scope `main`, which are in a map. */
function artifactsOf(stored: Map<string, string>, read: ScopeArtifacts['read']): ProtocolArtifacts {
  const own: ScopeArtifacts = { scope: 'main', read, describe: async () => undefined };
  const artifacts: Partial<ProtocolArtifacts> = {
    own,
    scopes: [own],
    overwrite: true,
    put: async (key, upload) => {
      stored.set(key, (await upload.toArray()).join(''));
      return { wasKept: false };
    },
  };
  // The other members are not used.
  return artifacts as ProtocolArtifacts;
}

/** Returns the key of an artifact, or a promise if the generation is not in memory. */
function keyIn(generations: Generations, project: string, artifacts: ProtocolArtifacts): string | Promise<string> {
  const operation = generations.read(project, (prefix) => `${prefix}/key`);
  const result = operation.kind === 'answer' ? operation.answer(artifacts) : operation;
  const keyOf = (read: Reply | Operation): string => ('key' in read && read.key) || '';
  return result instanceof Promise ? result.then(keyOf) : keyOf(result);
}
