import { once } from 'node:events';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import test from 'ava';
import { bazel } from '../../src/protocols/bazel/bazel.js';
import { nx } from '../../src/protocols/nx.js';
import { plain } from '../../src/protocols/plain.js';
import { memoryStore } from '../../src/stores/memory.js';
import { type HistogramSnapshot, LATENCY_BOUNDS_SECONDS } from '../../src/util/histogram.js';
import { KIB, MIB, temporaryDirectory, writePattern } from '../helpers/files.js';
import { until } from '../helpers/poll.js';
import type { Kind } from '../helpers/servers.js';
import { content } from '../stores/fixture.js';
import { open, storeOf } from './site.js';

const KINDS: readonly Kind[] = ['http', 'h2c', 'https', 'h2'];
const HASH = 'a'.repeat(64);

function countOf({ counts }: HistogramSnapshot): number {
  return counts.reduce((sum, count) => sum + count, 0);
}

for (const kind of KINDS) {
  test(`${kind}: responses are counted by protocol, operation, status and source`, async (t) => {
    const directory = await temporaryDirectory(t);
    writePattern(directory, 'file', 40 * KIB, 1);
    const kept = memoryStore();
    const store = {
      get: (key: string) =>
        key === 'file' ? ({ kind: 'file', path: join(directory, 'file') } as const) : kept.get(key),
      put: kept.put.bind(kept),
    };
    const { ask, handler } = await open(t, kind, { store, protocols: [bazel(), nx(), plain()] });
    await ask('PUT', `/bazel/cas/${HASH.replace('a', 'b')}`, { body: content(10) }); // the digest does not match
    await ask('PUT', '/key', { body: content(10) });
    await ask('GET', '/key');
    await ask('HEAD', '/key');
    await ask('GET', '/key', { headers: { range: 'bytes=0-3' } });
    await ask('GET', '/key', { headers: { range: 'bytes=10-' } });
    await ask('GET', '/file');
    await ask('GET', `/bazel/cas/${HASH}`);
    await ask('DELETE', '/key');
    await until('all requests are over', () => handler.stats().active === 0);
    const { responseCounts, responses, hits, misses } = handler.stats();
    const counts = responseCounts.map(
      ({ protocol, operation, status, source, count }) => `${protocol} ${operation} ${status} ${source} ${count}`,
    );
    t.deepEqual(counts.sort(), [
      'bazel read 404 none 1',
      'bazel upload 400 none 1',
      'plain delete 405 none 1',
      'plain read 200 bytes 1',
      'plain read 200 copied 1',
      'plain read 200 none 1',
      'plain read 206 bytes 1',
      'plain read 416 none 1',
      'plain upload 200 none 1',
    ]);
    t.deepEqual(responses, { 200: 4, 206: 1, 400: 1, 404: 1, 405: 1, 416: 1 });
    t.deepEqual({ hits, misses }, { hits: 5, misses: 1 });
  });

  test(`${kind}: the latency of complete downloads is recorded by size class`, async (t) => {
    const bytes = content(17 * MIB);
    const sizes = [64 * KIB, 64 * KIB + 1, MIB, 16 * MIB, 16 * MIB + 1];
    const artifacts = Object.fromEntries(
      sizes.map((size) => [`${size}`, { kind: 'bytes', bytes: bytes.subarray(0, size) } as const]),
    );
    const { ask, handler } = await open(t, kind, { store: storeOf(artifacts) });
    for (const size of sizes) t.is((await ask('GET', `/${size}`)).body.byteLength, size);
    await ask('HEAD', `/${MIB}`);
    await ask('GET', '/missing');
    await until('all requests are over', () => handler.stats().active === 0);
    const { latency } = handler.stats();
    t.deepEqual(
      latency.map(({ maxBytes }) => maxBytes),
      [64 * KIB, MIB, 16 * MIB, Number.POSITIVE_INFINITY],
    );
    t.deepEqual(
      latency.map(({ duration }) => countOf(duration)),
      [1, 2, 1, 1],
    );
    for (const { firstByte, duration } of latency) {
      t.is(countOf(firstByte), countOf(duration));
      t.true(firstByte.sum > 0 && firstByte.sum <= duration.sum);
      t.is(duration.counts.length, LATENCY_BOUNDS_SECONDS.length + 1);
    }
  });

  test(`${kind}: requests in flight are counted until they end, also when the client disconnects`, async (t) => {
    const slow = new PassThrough();
    const artifact = { kind: 'stream', size: 20, open: () => slow } as const;
    const { ask, handler } = await open(
      t,
      kind,
      { store: storeOf({ slow: artifact, file: { kind: 'file', path: '/nowhere' } }), fallthrough: true },
      { mount: '/cache' },
    );
    const leaving = new AbortController();
    const response = ask('GET', '/cache/slow', { signal: leaving.signal });
    const failed = t.throwsAsync(response);
    slow.write('ten bytes.');
    await until('the response is in flight', () => handler.stats().sent.stream.bytes === 10);
    t.is(handler.stats().active, 1);
    const closed = once(slow, 'close');
    leaving.abort();
    await failed;
    await closed;
    await until('the response is over', () => handler.stats().active === 0);
    // Passed on to the host.
    for (const path of ['/cache/missing', '/cache/file', '/cache/a//b', '/elsewhere']) await ask('GET', path);
    t.like(handler.stats(), { active: 0, hits: 0, misses: 2, responses: { 200: 1 } });
    t.is(countOf(handler.stats().latency[0]?.duration ?? { counts: [Number.NaN], sum: 0 }), 0);
  });
}

test('stats report the limits of a handler along with its usage', async (t) => {
  const { handler } = await open(t, 'http', {
    store: memoryStore(),
    maxPooledBytes: 3 * MIB,
    maxOpenFiles: 7,
    processes: 2,
  });
  const { maxOpenFiles, maxPooledBytes, maxMappedBytes, waitingForBuffers, idlePooledBytes, memory, pressure } =
    handler.stats();
  t.deepEqual({ maxOpenFiles, maxPooledBytes }, { maxOpenFiles: 7, maxPooledBytes: 3 * MIB });
  t.deepEqual({ waitingForBuffers, idlePooledBytes }, { waitingForBuffers: 0, idlePooledBytes: 0 });
  t.is(maxMappedBytes, memory.headroomBytes / 2);
  t.true((memory.usedBytes ?? 0) > 0 && (memory.usedBytes ?? 0) < (memory.limitBytes ?? 0), pressure);
  t.truthy(memory.sensor);
  const memoryProvider = { level: 'critical', headroomBytes: MIB } as const;
  const other = await open(t, 'http', { store: memoryStore(), memory: memoryProvider });
  t.deepEqual(other.handler.stats().memory, {
    usedBytes: undefined,
    limitBytes: undefined,
    softBytes: undefined,
    hardBytes: undefined,
    headroomBytes: MIB,
    sensor: undefined,
  });
  t.is(other.handler.stats().pressure, 'critical');
});
