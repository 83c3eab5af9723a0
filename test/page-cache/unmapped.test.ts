import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { fixedMemoryPressure } from '../../src/memory/pressure.js';
import { loadBindings } from '../../src/page-cache/bindings.js';
import type { UnmappedReason } from '../../src/send/tally.js';
import { assertAllBack, assertBytes, type FileSiteOptions, openFileSite } from '../helpers/file-site.js';
import { KIB, MIB, temporaryDirectory, writePattern } from '../helpers/files.js';
import { Frames } from '../helpers/frames.js';
import { until } from '../helpers/poll.js';
import type { Kind } from '../helpers/servers.js';

interface Case extends FileSiteOptions {
  readonly kind?: Kind;
  readonly size?: number;
}

const SMALL_HEADROOM = fixedMemoryPressure('normal', { headroomBytes: MIB });

const CASES: Partial<Record<UnmappedReason, Case[]>> = {
  mutable: [{ artifact: { immutable: false } }, { artifact: { immutable: undefined } }],
  small: [{ size: 1000 }, { size: 64 * KIB - 1 }],
  tls: [{ kind: 'https' }, { kind: 'h2' }],
  pressure: [{ memory: fixedMemoryPressure('constrained') }, { memory: fixedMemoryPressure('critical') }],
  large: [{ memory: SMALL_HEADROOM, size: MIB + 1 }],
  'no-mapper': [{ bindings: { mmapIo: false, libc: false } }],
  off: [{ map: 'never' }, { only: 'copied' }, { only: 'read' }],
  untracked: [{ server: { before: replaceWrite } }, { kind: 'h2c-compat', server: { before: replaceWrite } }],
};

function replaceWrite(...[, response, next]: Parameters<NonNullable<NonNullable<Case['server']>['before']>>): void {
  const write = response.write.bind(response) as (chunk: Uint8Array) => boolean;
  response.write = (chunk: Uint8Array) => write(chunk);
  next();
}

for (const [reason, cases] of Object.entries(CASES)) {
  test(`not mapped: ${reason}`, async (t) => {
    for (const { kind = 'http', size = 2 * MIB, ...options } of cases) {
      const site = await openFileSite(t, kind, options);
      const expected = writePattern(site.directory, 'artifact', size, 1);
      assertBytes(t, (await site.get('artifact')).body, expected);
      await assertReason(t, site.handler.stats(), reason);
      await assertAllBack(t, site);
    }
  });
}

function assertReason(t: ExecutionContext, stats: { unmapped: object; sent: { mapped: object } }, reason: string) {
  // Memory pressure is checked for each window, the other reasons once per response.
  if (reason === 'pressure') t.deepEqual(Object.keys(stats.unmapped), [reason]);
  else t.deepEqual(stats.unmapped, { [reason]: 1 });
  t.deepEqual(stats.sent.mapped, { windows: 0, bytes: 0 });
}

test('not mapped: a partial last page without a mapped page before it in its window', async (t) => {
  const site = await openFileSite(t, 'http');
  // The first window of HTTP/1.1 has 256 KiB.
  const expected = writePattern(site.directory, 'artifact', 256 * KIB + 100, 1);
  assertBytes(t, (await site.get('artifact')).body, expected);
  t.deepEqual(site.handler.stats().unmapped, { tail: 1 });
  t.deepEqual(site.sent(), { mapped: 256 * KIB, copied: 100 });
});

test('not mapped: the limit on mapped bytes is reached, where bytes with several leases count once', async (t) => {
  const memory = fixedMemoryPressure('normal', { headroomBytes: 128 * KIB });
  const site = await openFileSite(t, 'h2c', { memory });
  const names = ['a', 'b', 'c'];
  const bytes = names.map((name, index) => writePattern(site.directory, name, 128 * KIB, index));
  // With a flow-control window of 0, each stream keeps its first window of 64 KiB in flight.
  const client = await Frames.connect(t, site.server, { windowSize: 0 });
  client.get(1, '/a');
  client.get(3, '/a');
  client.get(5, '/b');
  await until('three windows are in flight', () => site.handler.stats().mappedBytes === 128 * KIB);
  t.deepEqual(site.handler.stats().unmapped, {});
  client.get(7, '/c');
  await until('the fourth window is not mapped', () => site.handler.stats().unmapped.pool === 1);
  t.is(site.handler.stats().mappedBytes, 128 * KIB);
  client.setInitialWindow(MIB);
  await until('all streams have ended', () => [1, 3, 5, 7].every((id) => client.stream(id).isEnded));
  for (const [id, index] of [
    [1, 0],
    [3, 0],
    [5, 1],
    [7, 2],
  ] as const) {
    assertBytes(t, client.stream(id).body, bytes[index] ?? Buffer.alloc(0), `stream ${id}`);
  }
  await assertAllBack(t, site);
});

test('map() returns map-limit above the limit, and map-failed if the kernel refuses', async (t) => {
  const directory = await temporaryDirectory(t);
  writePattern(directory, 'file', 64 * KIB, 1);
  const fd = openSync(join(directory, 'file'), 'r');
  const bindings = loadBindings({}, 2);
  const first = bindings.map(fd, 0, 64 * KIB);
  const second = bindings.map(fd, 0, 4096);
  t.is(bindings.map(fd, 0, 4096), 'map-limit');
  t.is(bindings.mappings, 2);
  closeSync(fd);
  for (const choice of [{ libc: false }, { mmapIo: false }]) t.is(loadBindings(choice).map(fd, 0, 4096), 'map-failed');
  t.true(typeof first === 'object' && typeof second === 'object'); // and both are still reachable
});
