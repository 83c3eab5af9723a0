import net, { type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import type { Store } from '../../../src/contract/store.js';
import { directoryStore } from '../../../src/stores/directory/store.js';
import { upstreamStore } from '../../../src/stores/upstream/store.js';
import { until } from '../../helpers/poll.js';
import { content, never, put, temporaryDirectory } from '../fixture.js';
import { listen, startUpstream, storeOf } from '../upstream/fixture.js';
import { bytesIn, startTiers, tiered } from './fixture.js';

const BYTES = content(20_000);
const THRESHOLD = 3;

const FAULTS: Record<string, (t: ExecutionContext) => Promise<Store>> = {
  'nothing listens': async () => upstreamStore('http://127.0.0.1:1'),
  '503': async (t) =>
    storeOf(t, await startUpstream(t, 'h2c', (_request, response) => void response.writeHead(503).end())),
  '401': async (t) =>
    storeOf(t, await startUpstream(t, 'http', (_request, response) => void response.writeHead(401).end())),
  'no answer': async (t) => storeOf(t, await startUpstream(t, 'h2c', () => {})),
  'no handshake': async (t) => {
    const sockets: Socket[] = [];
    const port = await listen(
      t,
      net.createServer((socket) => sockets.push(socket.on('error', () => {}).resume())),
      sockets,
    );
    const store = upstreamStore(`https://127.0.0.1:${port}`);
    t.teardown(() => store.close());
    return store;
  },
};

for (const [name, start] of Object.entries(FAULTS)) {
  test(`a remote store that is down makes misses, and soon costs no time: ${name}`, async (t) => {
    const local = await directoryStore(await temporaryDirectory(t));
    await put(local, 'hit', BYTES);
    const store = await tiered(t, {
      local,
      remote: await start(t),
      lookupTimeoutMs: 300,
      failureThreshold: THRESHOLD,
      cooldownMs: 60_000,
      missTtlMs: 0,
    });
    for (let count = 0; count < THRESHOLD; count++) {
      t.is(store.stats().remote, 'closed');
      t.is(await bytesIn(store, `miss-${count}`), undefined);
    }
    t.is(store.stats().remote, 'open');
    const startedAt = performance.now();
    for (let count = 0; count < 50; count++) {
      t.is(await bytesIn(store, 'other'), undefined);
      t.true(BYTES.equals((await bytesIn(store, 'hit')) ?? Buffer.of()));
    }
    // One more lookup that waits would take 300 ms, each.
    t.true(performance.now() - startedAt < 50 * 100);
  });
}

test('hits wait for nobody while lookups hang', async (t) => {
  const { store, local, peer } = await startTiers(t, () => {}, { lookupTimeoutMs: 60_000 });
  await put(local, 'hit', BYTES);
  const hanging = Array.from({ length: 30 }, (_, index) => bytesIn(store, `miss-${index}`));
  await until('they have been asked for', () => peer.requests.length === 30);
  t.true(BYTES.equals((await bytesIn(store, 'hit')) ?? Buffer.of()));
  await store.close();
  t.deepEqual(new Set(await Promise.all(hanging)), new Set([undefined]));
});

test('one request tries whether it is back; what comes in then is served', async (t) => {
  let status = 503;
  const { store, peer } = await startTiers(t, (_request, response) => void response.writeHead(status).end(BYTES), {
    failureThreshold: 2,
    cooldownMs: 200,
    missTtlMs: 0,
  });
  for (let count = 0; count < 5; count++) t.is(await bytesIn(store, 'a'), undefined);
  t.is(peer.requests.length, 2);
  await until('it may be tried', () => store.stats().remote === 'half-open');
  const tries = await Promise.all(['a', 'b', 'c'].map((key) => bytesIn(store, key)));
  t.deepEqual(tries, [undefined, undefined, undefined]);
  t.is(peer.requests.length, 3, 'one of them has tried');
  t.is(store.stats().remote, 'open');
  status = 200;
  await until('it may be tried', () => store.stats().remote === 'half-open');
  t.true(BYTES.equals((await bytesIn(store, 'a')) ?? Buffer.of()));
  t.is(store.stats().remote, 'closed');
  t.true(BYTES.equals((await bytesIn(store, 'b')) ?? Buffer.of()));
});

test('a client that leaves says nothing about the remote store', async (t) => {
  const { store, peer } = await startTiers(t, () => {}, { failureThreshold: 1 });
  for (let count = 1; count <= 3; count++) {
    const client = new AbortController();
    const lookup = bytesIn(store, 'a', client.signal);
    await until('it has been asked for', () => peer.requests.length === count);
    client.abort();
    await t.throwsAsync(lookup, { any: true, name: 'AbortError' });
    t.is(store.stats().remote, 'closed');
  }
});

test('a GOAWAY between two requests costs nothing', async (t) => {
  const { store, peer } = await startTiers(t, (_request, response) => void response.end(BYTES), {
    failureThreshold: 1,
  });
  for (let count = 0; count < 5; count++) {
    t.true(BYTES.equals((await bytesIn(store, `key-${count}`)) ?? Buffer.of()));
    for (const session of peer.sessions) if (!session.destroyed) session.goaway();
  }
  t.is(store.stats().remote, 'closed');
});

test('a local store that fails is not taken for a miss', async (t) => {
  const failure = new Error('EIO');
  const broken: Store & Pick<Required<Store>, 'put'> = {
    get: () => Promise.reject(failure),
    put: () => Promise.reject(failure),
  };
  const { store, peer } = await startTiers(t, () => {}, { local: broken });
  t.is(await t.throwsAsync(bytesIn(store, 'a')), failure);
  t.is(store.delete, undefined);
  t.deepEqual(peer.requests, []);
  t.is(await t.throwsAsync(Promise.resolve(store.get('a', { signal: never() }))), failure);
});
