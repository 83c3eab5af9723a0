import net, { type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { HotblobError } from '../../../src/contract/errors.js';
import type { Store } from '../../../src/contract/store.js';
import { directoryStore } from '../../../src/stores/directory/store.js';
import { memoryStore } from '../../../src/stores/memory.js';
import { upstreamStore } from '../../../src/stores/upstream/store.js';
import { collectEvents } from '../../helpers/events.js';
import { until } from '../../helpers/poll.js';
import { content, never, put, temporaryDirectory } from '../fixture.js';
import { listen, startUpstream, storeOf, streamOf } from '../upstream/fixture.js';
import { createTiered, readBytes, serveMap, startTiers } from './fixture.js';

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
  test(`a failing remote store causes misses, and the circuit breaker opens: ${name}`, async (t) => {
    const local = await directoryStore(await temporaryDirectory(t));
    await put(local, 'hit', BYTES);
    const store = await createTiered(t, {
      local,
      remote: await start(t),
      lookupTimeoutMs: 300,
      failureThreshold: THRESHOLD,
      cooldownMs: 60_000,
      missTtlMs: 0,
    });
    for (let count = 0; count < THRESHOLD; count++) {
      t.is(store.stats().remote, 'closed');
      t.is(await readBytes(store, `miss-${count}`), undefined);
    }
    t.is(store.stats().remote, 'open');
    t.is(await readBytes(store, 'other'), undefined);
    const { requests } = store.stats();
    for (let count = 0; count < 50; count++) {
      t.is(await readBytes(store, 'other'), undefined);
      t.true(BYTES.equals((await readBytes(store, 'hit')) ?? Buffer.of()));
    }
    t.deepEqual(store.stats().requests, requests, 'no request is sent while the breaker is open');
  });
}

test('hits are returned while lookups in the remote store hang', async (t) => {
  const { store, local, peer } = await startTiers(t, () => {}, { lookupTimeoutMs: 60_000 });
  await put(local, 'hit', BYTES);
  const hanging = Array.from({ length: 30 }, (_, index) => readBytes(store, `miss-${index}`));
  await until('all lookups have arrived', () => peer.requests.length === 30);
  t.true(BYTES.equals((await readBytes(store, 'hit')) ?? Buffer.of()));
  await store.close();
  t.deepEqual(new Set(await Promise.all(hanging)), new Set([undefined]));
});

test('one request probes a failed remote store, which serves again when the probe succeeds', async (t) => {
  let status = 503;
  const { store, peer } = await startTiers(t, (_request, response) => void response.writeHead(status).end(BYTES), {
    failureThreshold: 2,
    cooldownMs: 200,
    missTtlMs: 0,
  });
  for (let count = 0; count < 5; count++) t.is(await readBytes(store, 'a'), undefined);
  t.is(peer.requests.length, 2);
  await until('the breaker is half-open', () => store.stats().remote === 'half-open');
  const results = await Promise.all(['a', 'b', 'c'].map((key) => readBytes(store, key)));
  t.deepEqual(results, [undefined, undefined, undefined]);
  t.is(peer.requests.length, 3, 'one of them was the probe');
  t.is(store.stats().remote, 'open');
  status = 200;
  await until('the breaker is half-open', () => store.stats().remote === 'half-open');
  t.true(BYTES.equals((await readBytes(store, 'a')) ?? Buffer.of()));
  t.is(store.stats().remote, 'closed');
  t.true(BYTES.equals((await readBytes(store, 'b')) ?? Buffer.of()));
});

test('a client that leaves does not count as a failure of the remote store', async (t) => {
  const { store, peer } = await startTiers(t, () => {}, { failureThreshold: 1 });
  for (let count = 1; count <= 3; count++) {
    const client = new AbortController();
    const lookup = readBytes(store, 'a', client.signal);
    await until('the lookup has arrived', () => peer.requests.length === count);
    client.abort();
    await t.throwsAsync(lookup, { any: true, name: 'AbortError' });
    t.is(store.stats().remote, 'closed');
  }
});

test('a GOAWAY between two requests is not a failure', async (t) => {
  const { store, peer } = await startTiers(t, (_request, response) => void response.end(BYTES), {
    failureThreshold: 1,
  });
  for (let count = 0; count < 5; count++) {
    t.true(BYTES.equals((await readBytes(store, `key-${count}`)) ?? Buffer.of()));
    for (const session of peer.sessions) if (!session.destroyed) session.goaway();
  }
  t.is(store.stats().remote, 'closed');
});

test('rejects with the error of the local store, without a request to the remote store', async (t) => {
  const failure = new Error('EIO');
  const broken: Store & Pick<Required<Store>, 'put'> = {
    get: () => Promise.reject(failure),
    put: () => Promise.reject(failure),
  };
  const { store, peer } = await startTiers(t, () => {}, { local: broken });
  t.is(await t.throwsAsync(readBytes(store, 'a')), failure);
  t.is(store.delete, undefined);
  t.deepEqual(peer.requests, []);
  t.is(await t.throwsAsync(Promise.resolve(store.get('a', { signal: never() }))), failure);
});

test('a corrupt local artifact is replaced by that of the remote store, or by an upload', async (t) => {
  const events = collectEvents(t);
  const corrupt = new HotblobError('ERR_HOTBLOB_CORRUPT', 'the body differs from its checksum');
  for (const fail of [() => Promise.reject(corrupt), () => throwError(corrupt)]) {
    const memory = memoryStore();
    const stored = new Set<string>();
    const local: Store = {
      get: (key, options) => (stored.has(key) ? memory.get(key, options) : fail()),
      put: async (key, body, options) => {
        const result = await memory.put(key, body, options);
        stored.add(key);
        return result;
      },
    };
    const { store, peer } = await startTiers(t, serveMap(new Map([['/a', BYTES]])), { local });
    t.true(BYTES.equals((await readBytes(store, 'a')) ?? Buffer.of()));
    await until('the download has ended', () => store.stats().flights === 0);
    t.true(BYTES.equals((await readBytes(store, 'a')) ?? Buffer.of()));
    t.deepEqual(peer.requests, ['GET /a']);
    t.is(await readBytes(store, 'b'), undefined);
    await store.put('b', streamOf(BYTES), { signal: never(), ifAbsent: true });
    t.true(BYTES.equals((await readBytes(store, 'b')) ?? Buffer.of()));
  }
  const details = events.filter(({ event }) => event === 'artifact corrupt').map((event) => event.details);
  t.deepEqual(details.slice(0, 2), ['a: the body differs from its checksum', 'b: the body differs from its checksum']);
});

function throwError(error: Error): never {
  throw error;
}
