import test from 'ava';
import type { BytesArtifact } from '../../src/contract/artifact.js';
import { createHandler } from '../../src/handler/handler.js';
import { ChildServer } from '../helpers/child.js';
import { request } from '../helpers/client.js';
import { MIB, temporaryDirectory, writePattern } from '../helpers/files.js';
import { type Attack, type HostileOptions, runHostile } from '../helpers/hostile.js';
import { testWith } from '../helpers/peers.js';
import { openPort } from './fixture.js';

/** Anonymous memory that an attack may cost, in bytes. */
const MAX_GROWTH = 32 * MIB;
const SAMPLE_MS = 50;

/** Attacks that end their connection, and those that it survives: what they may do costs next to nothing. */
const FATAL: [Attack, HostileOptions][] = [
  ['reset-flood', {}],
  ['reset-flood', { code: 'INTERNAL_ERROR', method: 'PUT' }],
  ['reset-flood', { code: 'NO_ERROR', path: '/large' }],
  ['made-you-reset', { how: 'zero' }],
  ['made-you-reset', { how: 'overflow' }],
  ['made-you-reset', { how: 'length' }],
  ['made-you-reset', { how: 'field' }],
  ['made-you-reset', { how: 'refused' }],
  ['continuation-flood', {}],
  ['continuation-flood', { how: 'empty' }],
  ['settings-flood', {}],
  ['settings-flood', { how: 'change' }],
  ['ping-flood', {}],
  ['ping-flood', { noRead: true }],
  ['window-overflow', {}],
  ['empty-data-flood', {}],
];
const HARMLESS: [Attack, HostileOptions][] = [
  ['made-you-reset', { how: 'closed' }],
  ['made-you-reset', { how: 'fields', fields: 200 }],
  ['priority-flood', {}],
  ['settings-no-ack', {}],
  ['too-many-headers', {}],
  ['slow-reader', { path: '/large', streams: 128, rate: 1 }],
  ['no-window', { path: '/large', streams: 128 }],
];

const hostileTest = testWith(test, 'python3-h2');

hostileTest(
  'floods end their own connection within a second; the process lives, memory stays flat, others are answered',
  async (t) => {
    const directory = await temporaryDirectory(t);
    const expected = writePattern(directory, 'small', 4096, 1);
    writePattern(directory, 'large', 16 * MIB, 2);
    const child = await ChildServer.start(t, { kind: 'port-h2c', directory });
    const { server } = child;

    /** Asks again and again while `attack` lasts, and watches the memory. */
    const beside = async <T>(attack: Promise<T>): Promise<{ result: T; growth: number }> => {
      const before = child.anonymousBytes();
      let peak = before;
      let isOver = false;
      const sampler = setInterval(() => {
        peak = Math.max(peak, child.anonymousBytes());
      }, SAMPLE_MS);
      const others = (async () => {
        while (!isOver) t.deepEqual((await request(server, { path: '/small' })).body, expected);
      })();
      try {
        const result = await attack;
        isOver = true;
        await others;
        return { result, growth: peak - before };
      } finally {
        isOver = true;
        clearInterval(sampler);
      }
    };
    await request(server, { path: '/small' });
    for (const [attack, options] of FATAL) {
      const what = `${attack} ${JSON.stringify(options)}`;
      const { result, growth } = await beside(runHostile(t, attack, server, { seconds: 5, ...options }));
      t.not(result.closedAt, null, what);
      t.true((result.closedAt ?? 0) < 2, `${what}: ${result.closedAt} s`);
      t.true(growth < MAX_GROWTH, `${what}: ${growth} bytes`);
      t.true(child.isAlive, what);
    }
    for (const [attack, options] of HARMLESS) {
      const what = `${attack} ${JSON.stringify(options)}`;
      const { growth } = await beside(runHostile(t, attack, server, { seconds: 1, ...options }));
      t.true(growth < MAX_GROWTH, `${what}: ${growth} bytes`);
      t.true(child.isAlive, what);
    }
    const { pooledBytes, mappedBytes } = await child.stats();
    t.is(pooledBytes + mappedBytes, 0);
  },
);

const LARGE: BytesArtifact = { kind: 'bytes', bytes: Buffer.alloc(16 * MIB) };

for (const secure of [false, true]) {
  hostileTest(
    `128 streams that are read a byte a second, or not at all, are reset, ${secure ? 'h2' : 'h2c'}`,
    async (t) => {
      const handler = createHandler({ store: { get: () => LARGE } });
      const limits = { writeTimeoutMs: 300, minBytesPerSecond: 100 * MIB, pingIntervalMs: 200 };
      const { port } = await openPort(t, handler, { ...limits, secure });
      for (const attack of ['slow-reader', 'no-window'] as const) {
        const options = { streams: 128, rate: 1, window: 0, seconds: 4 };
        const report = await runHostile(t, attack, { port, tls: secure }, options);
        const resets = Object.values(report.resets).reduce((sum, count) => sum + count, 0);
        t.is(resets, 128, attack);
        t.is(report.closedAt, null, attack);
        t.deepEqual(report.goaways, [], attack);
      }
    },
  );
}

hostileTest('more streams than are allowed are refused, and the rest is answered', async (t) => {
  const { port } = await openPort(t, (_request, response) => void response.end('x'), { maxStreams: 10 });
  const report = await runHostile(t, 'too-many-streams', { port }, { seconds: 1, streams: 15 });
  t.deepEqual(report.statuses, { 200: 10 });
  t.deepEqual(report.resets, { REFUSED_STREAM: 5 });
});
