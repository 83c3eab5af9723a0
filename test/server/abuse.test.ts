import test from 'ava';
import type { BytesArtifact } from '../../src/contract/artifact.js';
import { createHandler } from '../../src/handler/handler.js';
import { ChildServer } from '../helpers/child.js';
import { request } from '../helpers/client.js';
import { MIB, temporaryDirectory, writePattern } from '../helpers/files.js';
import { type Attack, type HostileOptions, runHostile } from '../helpers/hostile.js';
import { testWith } from '../helpers/peers.js';
import { openPort } from './fixture.js';

/** Most anonymous memory that an attack may cost. */
const MAX_GROWTH_BYTES = 32 * MIB;
const SAMPLE_MS = 50;
/** Time limit of an attack for which the server should end the connection. On an idle machine it does so within 1 s. */
const ATTACK_SECONDS = 20;

/** Attacks for which the server ends the connection. */
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
/** Attacks that cost the server little, so that it keeps the connection. */
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
  'floods end their own connection long before the attack is over, while the process lives, its memory stays flat and other clients get their responses',
  async (t) => {
    const directory = await temporaryDirectory(t);
    const expected = writePattern(directory, 'small', 4096, 1);
    writePattern(directory, 'large', 16 * MIB, 2);
    const child = await ChildServer.start(t, { kind: 'port-h2c', directory });
    const { server } = child;

    /** Sends requests on another connection until `attack` is over, and samples the memory of the server. */
    const runBesideRequests = async <T>(attack: Promise<T>): Promise<{ result: T; growth: number }> => {
      const before = child.anonymousBytes();
      let peak = before;
      let isFinished = false;
      const sampler = setInterval(() => {
        peak = Math.max(peak, child.anonymousBytes());
      }, SAMPLE_MS);
      const others = (async () => {
        while (!isFinished) t.deepEqual((await request(server, { path: '/small' })).body, expected);
      })();
      try {
        const result = await attack;
        isFinished = true;
        await others;
        return { result, growth: peak - before };
      } finally {
        isFinished = true;
        clearInterval(sampler);
      }
    };
    await request(server, { path: '/small' });
    for (const [attack, options] of FATAL) {
      const label = `${attack} ${JSON.stringify(options)}`;
      const { result, growth } = await runBesideRequests(
        runHostile(t, attack, server, { seconds: ATTACK_SECONDS, ...options }),
      );
      t.not(result.closedAt, null, label);
      t.true((result.closedAt ?? ATTACK_SECONDS) < ATTACK_SECONDS / 2, `${label}: ${result.closedAt} s`);
      t.true(growth < MAX_GROWTH_BYTES, `${label}: ${growth} bytes`);
      t.true(child.isAlive, label);
    }
    for (const [attack, options] of HARMLESS) {
      const label = `${attack} ${JSON.stringify(options)}`;
      const { growth } = await runBesideRequests(runHostile(t, attack, server, { seconds: 1, ...options }));
      t.true(growth < MAX_GROWTH_BYTES, `${label}: ${growth} bytes`);
      t.true(child.isAlive, label);
    }
    const { pooledBytes, mappedBytes } = await child.stats();
    t.is(pooledBytes + mappedBytes, 0);
  },
);

const LARGE: BytesArtifact = { kind: 'bytes', bytes: Buffer.alloc(16 * MIB) };

for (const secure of [false, true]) {
  hostileTest(
    `resets 128 streams that are read at a byte per second or not at all, ${secure ? 'h2' : 'h2c'}`,
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

hostileTest('refuses streams above maxStreams and serves the others', async (t) => {
  const { port } = await openPort(t, (_request, response) => void response.end('x'), { maxStreams: 10 });
  const report = await runHostile(t, 'too-many-streams', { port }, { seconds: 1, streams: 15 });
  t.deepEqual(report.statuses, { 200: 10 });
  t.deepEqual(report.resets, { REFUSED_STREAM: 5 });
});
