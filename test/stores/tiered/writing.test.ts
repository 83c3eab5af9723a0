import { readdir, rm } from 'node:fs/promises';
import test from 'ava';
import { HotblobError } from '../../../src/contract/errors.js';
import type { Store } from '../../../src/contract/store.js';
import { directoryStore } from '../../../src/stores/directory/store.js';
import { memoryStore } from '../../../src/stores/memory.js';
import type { TieredStore } from '../../../src/stores/tiered/store.js';
import { upstreamStore } from '../../../src/stores/upstream/store.js';
import { collectEvents } from '../../helpers/events.js';
import { until } from '../../helpers/poll.js';
import { bodyOf, content, entriesBelow, never, put, refusal, temporaryDirectory } from '../fixture.js';
import { type Listener, startUpstream, storeOf, streamOf, WIRES } from '../upstream/fixture.js';
import { createTiered, readBytes, serveMap, startTiers } from './fixture.js';

const BYTES = content(3_000_000);
const OTHER = content(1_000_000, 9);

const writable = (store: TieredStore) => store as Required<TieredStore>;

for (const wire of WIRES) {
  test(`${wire}: write-through sends uploads and deletions to both stores`, async (t) => {
    const artifacts = new Map<string, Buffer>();
    const { store, local } = await startTiers(t, serveMap(artifacts), {}, wire);
    t.true((await put(writable(store), 'a/b', BYTES)).created);
    t.true(BYTES.equals(artifacts.get('/a/b') ?? Buffer.of()));
    t.true(BYTES.equals((await readBytes(local, 'a/b')) ?? Buffer.of()));
    t.false((await store.put('a/b', streamOf(OTHER), { signal: never() })).created);
    t.true(OTHER.equals(artifacts.get('/a/b') ?? Buffer.of()));
    t.true(OTHER.equals((await readBytes(store, 'a/b')) ?? Buffer.of()));
    t.true(await writable(store).delete('a/b'));
    t.deepEqual([...artifacts.keys()], []);
    t.is(await readBytes(store, 'a/b'), undefined);
    t.false(await writable(store).delete('a/b'));
    artifacts.set('/remote', OTHER);
    t.true(await writable(store).delete('remote'), 'only the remote store had it');
    t.deepEqual(await entriesBelow(local.root), []);
  });
}

for (const status of [301, 307, 400, 401, 403, 404, 405, 409, 410, 413, 422, 501, 507]) {
  test(`an upload that the remote store refuses with ${status} is kept in the local store, and downloads continue`, async (t) => {
    const events = collectEvents(t);
    const artifacts = new Map([['/remote', OTHER]]);
    const serve = serveMap(artifacts);
    const options = { failureThreshold: 1, cooldownMs: 60_000 };
    const { store, local } = await startTiers(
      t,
      (request, response) => {
        if (request.method === 'GET') serve(request, response);
        else request.resume().on('end', () => response.writeHead(status, { location: '/other' }).end());
      },
      options,
    );
    await put(local, 'a', OTHER);
    t.false((await put(writable(store), 'a', BYTES)).created);
    t.true((await put(writable(store), 'b', BYTES)).created);
    for (const key of ['a', 'b']) t.true(BYTES.equals((await readBytes(local, key)) ?? Buffer.of()));
    t.like(store.stats(), { remote: 'closed', unreplicated: 2 });
    t.true(OTHER.equals((await readBytes(store, 'remote')) ?? Buffer.of()));
    const details = events.filter(({ event }) => event === 'replication failed').map(({ details }) => details);
    t.true(details.some((each) => each.startsWith('b: ') && each.includes(`received status ${status} for PUT`)));
  });
}

for (const status of [408, 429, 500, 502, 503, 504]) {
  test(`an upload to which the remote store responds ${status} is kept in the local store, and opens the circuit breaker`, async (t) => {
    const { store, local, peer } = await startTiers(
      t,
      (request, response) => {
        request.resume().on('end', () => response.writeHead(status).end());
      },
      { failureThreshold: 1, cooldownMs: 60_000 },
    );
    t.true((await put(writable(store), 'a', BYTES)).created);
    t.is(store.stats().remote, 'open');
    t.false((await put(writable(store), 'a', OTHER)).created);
    t.true(OTHER.equals((await readBytes(local, 'a')) ?? Buffer.of()));
    t.is(store.stats().unreplicated, 2);
    t.deepEqual(peer.requests, ['PUT /a']);
    await t.throwsAsync(writable(store).delete('a'), refusal('ERR_HOTBLOB_UPSTREAM', /circuit breaker open/));
  });
}

for (const wire of WIRES) {
  for (const [name, listener] of Object.entries<Listener>({
    'reads nothing and responds 403': (_request, response) => void response.writeHead(403).end(),
    'resets the connection': (request) => void request.socket.destroy(),
    'resets the connection in the middle of the body': (request) =>
      void request.once('data', () => request.socket.destroy()),
    'never responds': (request) => void request.resume(),
    'reads nothing': () => {},
  })) {
    test(`${wire}: an upload is kept in the local store if the remote store ${name}`, async (t) => {
      const peer = await startUpstream(t, wire, listener);
      const remote = storeOf(t, peer, { firstByteTimeoutMs: 200, stallTimeoutMs: 200 });
      const local = await directoryStore(await temporaryDirectory(t));
      const store = writable(await createTiered(t, { local, remote }));
      await put(store, 'a', BYTES);
      t.true(BYTES.equals((await readBytes(local, 'a')) ?? Buffer.of()));
      t.is(store.stats().unreplicated, 1);
    });
  }
}

test('an upload that neither store takes fails with the error of the local store', async (t) => {
  const { store } = await startTiers(
    t,
    (request, response) => {
      request.resume().on('end', () => response.writeHead(403).end());
    },
    { local: memoryStore({ maxBytes: 1000 }) },
  );
  await t.throwsAsync(put(writable(store), 'a', BYTES), refusal('ERR_HOTBLOB_TOO_LARGE'));
});

test('a remote store that does not read the body does not delay the upload', async (t) => {
  const local = memoryStore();
  const remote: Store = { get: () => undefined, put: async () => ({ created: true }) };
  const store = writable(await createTiered(t, { local, remote }));
  await put(store, 'a', BYTES);
  t.true(BYTES.equals((await readBytes(local, 'a')) ?? Buffer.of()));
});

test('a failed upload is stored nowhere and is not a failure of the remote store', async (t) => {
  const artifacts = new Map<string, Buffer>();
  const { store, local } = await startTiers(t, serveMap(artifacts), { failureThreshold: 1 });
  const failure = new Error('the client has left');
  t.is(await t.throwsAsync(store.put('a', bodyOf([BYTES, BYTES], failure), { signal: never() })), failure);
  const stalled = bodyOf([BYTES, BYTES]);
  const client = new AbortController();
  const upload = store.put('a', stalled, { signal: client.signal });
  client.abort(failure);
  t.is(await t.throwsAsync(upload), failure);
  t.true(stalled.destroyed);
  await t.throwsAsync(put(writable(store), 'a', 'four', { size: 5 }), refusal('ERR_HOTBLOB_INCOMPLETE'));
  t.is(store.stats().remote, 'closed');
  t.deepEqual([...artifacts.keys()], []);
  t.deepEqual(await entriesBelow(local.root), []);
});

test('an upload that does not fit into the local store succeeds and deletes the previous local artifact', async (t) => {
  const artifacts = new Map<string, Buffer>();
  const local = memoryStore({ maxBytes: 2_000_000 });
  const { store } = await startTiers(t, serveMap(artifacts), { local });
  await put(writable(store), 'a', OTHER);
  t.true(OTHER.equals(Buffer.from(local.get('a')?.bytes ?? [])));
  await put(writable(store), 'a', BYTES);
  t.is(local.get('a'), undefined);
  t.true(BYTES.equals((await readBytes(store, 'a')) ?? Buffer.of()));
});

test('concurrent uploads of one key leave the same artifact in both stores', async (t) => {
  const artifacts = new Map<string, Buffer>();
  const { store, local } = await startTiers(t, serveMap(artifacts));
  for (let round = 0; round < 5; round++) {
    const versions = Array.from({ length: 6 }, (_, index) => content(100_000 + index, index));
    await Promise.all(versions.map((bytes) => put(writable(store), 'a', bytes)));
    const last = artifacts.get('/a') ?? Buffer.of();
    t.true(versions.some((bytes) => bytes.equals(last)));
    t.true(last.equals((await readBytes(local, 'a')) ?? Buffer.of()));
  }
});

test('with ifAbsent, an upload is refused if either store has the artifact, and changes neither', async (t) => {
  const artifacts = new Map<string, Buffer>();
  const { store, local } = await startTiers(t, serveMap(artifacts));
  await put(local, 'local', OTHER);
  await t.throwsAsync(put(writable(store), 'local', BYTES, { ifAbsent: true }), refusal('ERR_HOTBLOB_EXISTS'));
  t.deepEqual([...artifacts.keys()], []);
  t.true(OTHER.equals((await readBytes(local, 'local')) ?? Buffer.of()));

  const remote = memoryStore();
  await put(remote, 'remote', OTHER);
  const near = memoryStore();
  const tiers = await createTiered(t, { local: near, remote });
  await t.throwsAsync(put(writable(tiers), 'remote', BYTES, { ifAbsent: true }), refusal('ERR_HOTBLOB_EXISTS'));
  t.is(near.get('remote'), undefined);
  t.true(OTHER.equals(Buffer.from(remote.get('remote')?.bytes ?? [])));
  t.is(tiers.stats().remote, 'closed');
});

test('a slow upload does not delay another upload of its key', async (t) => {
  const artifacts = new Map<string, Buffer>();
  const { store } = await startTiers(t, serveMap(artifacts));
  const slow = bodyOf([OTHER]);
  const first = store.put('a', slow, { signal: never() });
  await put(writable(store), 'a', BYTES);
  t.true(BYTES.equals((await readBytes(store, 'a')) ?? Buffer.of()));
  slow.push(null);
  await first;
  t.true(OTHER.equals((await readBytes(store, 'a')) ?? Buffer.of()));
  t.true(OTHER.equals(artifacts.get('/a') ?? Buffer.of()));
});

test('accepts a read-only remote store', async (t) => {
  const remote = memoryStore();
  await put(remote, 'a', OTHER);
  const local = memoryStore();
  const store = writable(await createTiered(t, { local, remote: { get: (key) => remote.get(key) } }));
  await put(store, 'b', BYTES);
  t.true(BYTES.equals((await readBytes(store, 'b')) ?? Buffer.of()));
  t.true(await store.delete('b'));
  t.true(OTHER.equals((await readBytes(store, 'a')) ?? Buffer.of()));
});

test('write-back: an upload resolves before the remote store has it', async (t) => {
  const artifacts = new Map<string, Buffer>();
  const pending: (() => void)[] = [];
  const serve = serveMap(artifacts);
  const queueDir = `${await temporaryDirectory(t)}/queue`;
  const { store, local } = await startTiers(
    t,
    (request, response) => {
      if (request.method === 'PUT') pending.push(() => serve(request, response));
      else serve(request, response);
    },
    { writes: 'writeBack', queueDir },
  );
  await put(writable(store), 'a/b', BYTES);
  t.true(BYTES.equals((await readBytes(local, 'a/b')) ?? Buffer.of()));
  t.is(store.stats().queued, 1);
  t.is((await readdir(queueDir)).length, 1);
  await until('the upload is in flight', () => pending.length === 1);
  pending[0]?.();
  await until('the queue is empty', () => store.stats().queued === 0);
  t.true(BYTES.equals(artifacts.get('/a/b') ?? Buffer.of()));
  await until('the queue directory is empty', async () => (await readdir(queueDir)).length === 0);
});

test('write-back: retries a failed upload, but not a rejected one', async (t) => {
  const artifacts = new Map<string, Buffer>();
  const serve = serveMap(artifacts);
  let failures = 2;
  const { store, peer } = await startTiers(
    t,
    (request, response) => {
      const status = request.url === '/large' ? 413 : 503;
      if (request.method === 'GET' || (status === 503 && failures-- <= 0)) serve(request, response);
      else request.resume().on('end', () => response.writeHead(status).end());
    },
    { writes: 'writeBack', queueDir: await temporaryDirectory(t), failureThreshold: 2, cooldownMs: 100 },
  );
  await put(writable(store), 'large', BYTES);
  await put(writable(store), 'a', OTHER);
  await until('the queue is empty', () => store.stats().queued === 0);
  t.true(OTHER.equals(artifacts.get('/a') ?? Buffer.of()));
  t.deepEqual(peer.requests.toSorted(), ['PUT /a', 'PUT /a', 'PUT /a', 'PUT /large']);
  t.true(BYTES.equals((await readBytes(store, 'large')) ?? Buffer.of()));
});

test('write-back: while uploads are refused, the whole queue waits, and nothing is lost', async (t) => {
  const artifacts = new Map<string, Buffer>();
  const serve = serveMap(artifacts);
  let isRefusing = true;
  const { store, peer } = await startTiers(
    t,
    (request, response) => {
      if (!isRefusing) serve(request, response);
      else request.resume().on('end', () => response.writeHead(401).end());
    },
    { writes: 'writeBack', queueDir: await temporaryDirectory(t) },
  );
  const keys = Array.from({ length: 40 }, (_, index) => `key/${index}`);
  await Promise.all(keys.map((key) => put(writable(store), key, key)));
  await until('uploads are refused repeatedly', () => peer.requests.length > 5);
  isRefusing = false;
  await until('the queue is empty', () => store.stats().queued === 0);
  t.is(artifacts.size, 40);
  t.is(store.stats().unreplicated, 0);
  t.true(peer.requests.length < 60, `${peer.requests.length} requests for 40 uploads`);
});

test('write-back: an upload that is refused while others succeed is dropped', async (t) => {
  const events = collectEvents(t);
  const artifacts = new Map<string, Buffer>();
  const serve = serveMap(artifacts);
  const { store } = await startTiers(
    t,
    (request, response) => {
      if (request.url !== '/refused') serve(request, response);
      else request.resume().on('end', () => response.writeHead(403).end());
    },
    { writes: 'writeBack', queueDir: await temporaryDirectory(t) },
  );
  await put(writable(store), 'refused', OTHER);
  await until('the upload is refused', () => events.some(({ details }) => details.startsWith('refused: ')));
  await put(writable(store), 'accepted', OTHER);
  await until('the queue is empty', () => store.stats().queued === 0);
  t.deepEqual([...artifacts.keys()], ['/accepted']);
  t.is(store.stats().unreplicated, 1);
});

test('write-back: a deletion that the remote store refuses remains in the queue and hides the artifact', async (t) => {
  const events = collectEvents(t);
  const remote = memoryStore();
  await put(remote, 'a', OTHER);
  let isRefusing = true;
  let refused = 0;
  const refusing: Store = {
    get: (key, options) => remote.get(key, options),
    put: (key, body, options) => remote.put(key, body, options),
    delete: async (key) => {
      if (!isRefusing) return remote.delete(key);
      refused++;
      throw new HotblobError('ERR_HOTBLOB_UPSTREAM_DENIED', 'the token has expired');
    },
  };
  const queueDir = await temporaryDirectory(t);
  const store = await createTiered(t, { local: memoryStore(), remote: refusing, writes: 'writeBack', queueDir });
  t.true(await writable(store).delete('a'));
  await put(writable(store), 'b', OTHER);
  await until('another task has succeeded, and the deletion is refused again', () => {
    return store.stats().queued === 1 && refused > 1;
  });
  t.is(await readBytes(store, 'a'), undefined);
  t.true(events.some(({ event, details }) => event === 'replication failed' && details.startsWith('a: ')));
  isRefusing = false;
  await until('the queue is empty', () => store.stats().queued === 0);
  t.is(await readBytes(remote, 'a'), undefined);
});

test('write-back: a local read that fails during an upload does not count against the remote store', async (t) => {
  const local = memoryStore();
  let failures = 3;
  const failing: Store = {
    get: (key, options) => {
      const artifact = local.get(key, options);
      if (artifact === undefined || failures-- <= 0) return artifact;
      return {
        kind: 'stream',
        size: OTHER.byteLength,
        open: () => bodyOf([OTHER.subarray(0, 1000)], new Error('EIO')),
      };
    },
    put: (key, body, options) => local.put(key, body, options),
    delete: (key) => local.delete(key),
  };
  const artifacts = new Map<string, Buffer>();
  const { store } = await startTiers(t, serveMap(artifacts), {
    local: failing,
    writes: 'writeBack',
    queueDir: await temporaryDirectory(t),
    failureThreshold: 1,
    cooldownMs: 60_000,
  });
  await put(writable(store), 'a', OTHER);
  await until('reads have failed', () => failures <= 0);
  t.is(store.stats().remote, 'closed');
  await until('the queue is empty', () => store.stats().queued === 0);
  t.true(OTHER.equals(artifacts.get('/a') ?? Buffer.of()));
});

test('an upload with ifAbsent ends when the remote store reports an artifact, before the body has ended', async (t) => {
  const remote: Store = {
    get: () => undefined,
    put: async () => {
      throw new HotblobError('ERR_HOTBLOB_EXISTS', 'exists');
    },
  };
  const local = memoryStore();
  const store = writable(await createTiered(t, { local, remote }));
  const body = bodyOf([BYTES]);
  await t.throwsAsync(store.put('a', body, { signal: never(), ifAbsent: true }), refusal('ERR_HOTBLOB_EXISTS'));
  t.true(body.destroyed);
  t.is(await readBytes(local, 'a'), undefined);
});

test('write-back: drops the oldest keys when maxQueued is exceeded', async (t) => {
  const local = memoryStore();
  const queueDir = await temporaryDirectory(t);
  const remote = upstreamStore('http://127.0.0.1:1');
  const limits = { maxQueued: 3, failureThreshold: 1, cooldownMs: 60_000 };
  const store = writable(await createTiered(t, { local, remote, writes: 'writeBack', queueDir, ...limits }));
  // Opens the circuit breaker: a task that has failed is moved to the end of the queue.
  t.is(await readBytes(store, 'a'), undefined);
  for (const key of 'abcde') await put(store, key, key);
  t.is(store.stats().queued, 3);
  t.is(store.stats().dropped, 2);
  t.is((await readdir(queueDir)).length, 3);
  await store.close();
  const artifacts = new Map<string, Buffer>();
  const restarted = await startTiers(t, serveMap(artifacts), { local, writes: 'writeBack', queueDir });
  await until('the queue is empty', () => restarted.store.stats().queued === 0);
  t.deepEqual([...artifacts.keys()].sort(), ['/c', '/d', '/e']);
});

test('write-back: a deletion follows an upload in flight, and a queued deletion hides the remote artifact', async (t) => {
  const artifacts = new Map([['/old', OTHER]]);
  const serve = serveMap(artifacts);
  let isDown = false;
  const pending: (() => void)[] = [];
  const { store, peer } = await startTiers(
    t,
    (request, response) => {
      if (isDown) response.writeHead(503).end();
      else if (request.url === '/held' && request.method === 'PUT') pending.push(() => serve(request, response));
      else serve(request, response);
    },
    { writes: 'writeBack', queueDir: await temporaryDirectory(t), cooldownMs: 100, missTtlMs: 0 },
    'http',
  );
  await put(writable(store), 'held', BYTES);
  await until('the upload is in flight', () => pending.length === 1);
  t.true(await writable(store).delete('held'));
  t.is(await readBytes(store, 'held'), undefined);
  isDown = true;
  t.true(await writable(store).delete('old'));
  t.is(store.stats().queued, 1);
  const gets = () => peer.requests.filter((request) => request === 'GET /old').length;
  t.is(await readBytes(store, 'old'), undefined);
  t.is(gets(), 0, 'no lookup is sent');
  isDown = false;
  await until('the queue is empty', () => store.stats().queued === 0);
  t.deepEqual([...artifacts.keys()], []);
});

test('write-back: an upload that cannot be queued is kept in the local store', async (t) => {
  const events = collectEvents(t);
  const queueDir = await temporaryDirectory(t);
  const { store, local } = await startTiers(t, serveMap(new Map()), { writes: 'writeBack', queueDir });
  await rm(queueDir, { recursive: true });
  await put(writable(store), 'a', BYTES);
  t.true(BYTES.equals((await readBytes(local, 'a')) ?? Buffer.of()));
  t.is(store.stats().unreplicated, 1);
  t.true(events.some(({ details }) => /^a: the task cannot be queued: ENOENT/.test(details)));
});
