import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { FileArtifact } from '../../src/contract/artifact.js';
import type { MemoryPressureLevel } from '../../src/memory/level.js';
import { fixedMemoryPressure } from '../../src/memory/pressure.js';
import { loadBindings } from '../../src/page-cache/bindings.js';
import type { OpenFile } from '../../src/page-cache/open-file.js';
import { OpenFiles } from '../../src/page-cache/open-files.js';
import type { Body } from '../../src/send/body-cache.js';
import { Connection } from '../../src/send/connection.js';
import { Leases } from '../../src/send/leases.js';
import { FakeExchange } from '../helpers/exchange.js';
import { fakeInterval } from '../helpers/fake-interval.js';
import { assertBytes } from '../helpers/file-site.js';
import { KIB, MIB, pattern, temporaryDirectory, writePattern } from '../helpers/files.js';

test('a file that was rewritten in spite of the promise is not sent from memory under its new entity tag', async (t) => {
  const { file, artifact } = await openFile(t, 4 * KIB);
  const leases = new Leases(64 * MIB, fixedMemoryPressure('normal'));
  const region = { file, offset: 0, length: 4 * KIB };
  leases.acquireBody({ ...region, version: '"a"' });
  leases.acquireBody({ ...region, version: '"a"' })?.release();
  writeFileSync(artifact.path, pattern(4 * KIB, 2));
  const body = leases.acquireBody({ ...region, version: '"b"' });
  assertBytes(t, body?.memory ?? Buffer.alloc(0), pattern(4 * KIB, 2));
  t.is(leases.stats().pooledBytes, 5 * KIB, 'the previous body is no longer counted');
});

test('bodies take at most a quarter of the pool, and those that are used stay', async (t) => {
  const { file } = await openFile(t, 4 * MIB);
  const leases = new Leases(4 * MIB, fixedMemoryPressure('normal'));
  const use = (index: number): boolean => {
    const body = leases.acquireBody({ file, offset: index * 16 * KIB, length: 16 * KIB, version: undefined });
    body?.release();
    return body !== undefined;
  };
  const isKept = (index: number): boolean => file.bodies.has(index * 16 * KIB);
  for (let index = 0; index < 200; index++) {
    use(0);
    use(index);
    use(index);
    t.true(leases.stats().idlePooledBytes <= MIB);
  }
  t.true(isKept(0), 'in use all the time');
  t.true(isKept(199), 'used last');
  t.false(isKept(1));
});

test('buffers take the memory of bodies that are not being sent', async (t) => {
  const { file } = await openFile(t, MIB);
  const leases = new Leases(MIB, fixedMemoryPressure('normal'));
  const bodies = keptBodies(leases, file, 50, 4 * KIB);
  t.is(leases.stats().pooledBytes, 250 * KIB, 'all are being sent, each takes 1 KiB more than its bytes');
  for (const body of bodies.slice(1)) body.release();
  const buffers = [];
  for (;;) {
    const buffer = leases.acquireBuffer(new Connection(false), 4 * KIB);
    if (buffer === undefined) break;
    buffers.push(buffer);
    t.true(totalBytes(leases) <= MIB);
  }
  t.is(buffers.length, 254, 'all but the memory of the body that is being sent');
  bodies[0]?.release();
  t.is(leases.stats().pooledBytes, 254 * 4 * KIB);
  t.is(leases.acquireBuffer(new Connection(false), 4 * KIB)?.memory.byteLength, 4 * KIB);
  t.is(file.bodies.size, 0, 'all were discarded');
});

test('under memory pressure, no body is added and bodies are freed', async (t) => {
  const { file } = await openFile(t, 2 * MIB);
  const memory: { level: MemoryPressureLevel; headroomBytes: number } = {
    level: 'constrained',
    headroomBytes: 64 * MIB,
  };
  const leases = new Leases(64 * MIB, memory);
  const use = (index: number): void => {
    const region = { file, offset: index * 32 * KIB, length: 32 * KIB, version: undefined };
    leases.acquireBody(region)?.release();
    leases.acquireBody(region)?.release();
  };
  use(0);
  t.is(leases.stats().idlePooledBytes, 0);
  memory.level = 'normal';
  for (let index = 0; index < 60; index++) use(index);
  t.is(leases.stats().idlePooledBytes, 60 * 33 * KIB);
  memory.level = 'critical';
  const connection = new Connection(false);
  const buffer = leases.acquireBuffer(connection, 4 * KIB);
  if (buffer !== undefined) leases.releaseBuffer(connection, buffer, true);
  t.is(leases.stats().idlePooledBytes, 0);
});

for (const hasStarted of [false, true]) {
  test(`a response that waits for a buffer ${hasStarted ? 'after' : 'before'} its headers gets the memory of bodies that were sent`, async (t) => {
    const { file } = await openFile(t, MIB);
    const leases = new Leases(MIB, fixedMemoryPressure('normal'));
    const bodies = keptBodies(leases, file, 50, 4 * KIB);
    while (leases.acquireBuffer(new Connection(false), 4 * KIB) !== undefined);
    const exchange = new FakeExchange('/');
    if (hasStarted) exchange.respond(200);
    const waiting = leases.waitForBuffer(exchange, new Connection(false), 4 * KIB);
    t.is(leases.stats().waitingForBuffers, 1);
    for (const body of bodies) body.release();
    t.is(leases.stats().waitingForBuffers, 0);
    t.is((await waiting).memory.byteLength, 4 * KIB);
  });
}

test('bodies that are being sent are not discarded, and leave the rest of the space to others', async (t) => {
  const { file } = await openFile(t, 4 * MIB);
  const leases = new Leases(4 * MIB, fixedMemoryPressure('normal'));
  const held = keptBodies(leases, file, 58, 16 * KIB);
  for (let index = 100; index < 110; index++) {
    for (let use = 0; use < 2; use++) {
      leases.acquireBody({ file, offset: index * 16 * KIB, length: 16 * KIB, version: undefined })?.release();
    }
    t.true(file.bodies.has(index * 16 * KIB), `body ${index} is kept`);
    t.true(totalBytes(leases) <= MIB);
  }
  for (let index = 0; index < 58; index++) t.true(file.bodies.has(index * 16 * KIB), `body ${index} stays`);
  for (const body of held) body.release();
});

test('bodies that are being sent, buffers and idle buffers together never exceed the limit', async (t) => {
  const { file } = await openFile(t, MIB);
  const leases = new Leases(4 * MIB, fixedMemoryPressure('normal'));
  keptBodies(leases, file, 60, 16 * KIB);
  const connections = Array.from({ length: 187 }, () => new Connection(false));
  const buffers = connections.map((connection) => leases.acquireBuffer(connection, 16 * KIB));
  for (const [index, connection] of connections.entries()) {
    const buffer = buffers[index];
    if (buffer !== undefined) leases.releaseBuffer(connection, buffer, true);
  }
  t.true(totalBytes(leases) > 3.9 * MIB);
  for (let count = 0; count < 50; count++) {
    t.not(leases.acquireBuffer(new Connection(false), 4 * KIB), undefined);
    t.true(totalBytes(leases) <= 4 * MIB, `${totalBytes(leases)} bytes with ${count + 1} buffers`);
  }
});

test('the number of tiny bodies is limited, and their objects count', async (t) => {
  const { file } = await openFile(t, 3 * MIB);
  const leases = new Leases(64 * MIB, fixedMemoryPressure('normal'));
  for (let index = 0; index < 10_000; index++) keptBodies(leases, file, 1, 300, index)[0]?.release();
  t.true(file.bodies.size <= 4096, `${file.bodies.size} bodies`);
  t.true(file.bodies.has(9999 * 300), 'the last one is kept');
  t.is(leases.stats().idlePooledBytes, file.bodies.size * (300 + KIB));
  void file.retire();
  t.is(leases.stats().idlePooledBytes, 0);
});

test('no body is kept for a file that has been replaced', async (t) => {
  const { file } = await openFile(t, MIB);
  const leases = new Leases(64 * MIB, fixedMemoryPressure('normal'));
  void file.retire();
  const region = { file, offset: 0, length: 4 * KIB, version: undefined };
  for (let use = 0; use < 3; use++) t.is(leases.acquireBody(region), undefined);
  t.is(file.bodies.size, 0);
});

// The rest of this test is synchronous, so that the fake timer affects no other code.
test.serial('bodies are freed 30 s after the last response has sent them, and then no timer runs', async (t) => {
  const { file } = await openFile(t, 4 * MIB);
  const { isRunning, advance } = fakeInterval(t);
  const leases = new Leases(64 * MIB, fixedMemoryPressure('normal'));
  const bodies = keptBodies(leases, file, 100, 32 * KIB);
  t.false(isRunning(), 'no memory is idle');
  for (const body of bodies) body.release();
  t.true(isRunning());
  advance(29_000);
  t.is(leases.stats().idlePooledBytes, 100 * 33 * KIB);
  const used = keptBodies(leases, file, 50, 32 * KIB);
  for (const body of used) body.release();
  advance(1000);
  t.is(leases.stats().idlePooledBytes, 50 * 33 * KIB, 'the bodies that were not used are freed');
  advance(29_000);
  t.is(leases.stats().idlePooledBytes, 0);
  t.false(isRunning());
});

/** Uses `count` bodies of a file twice, and returns their second uses. */
function keptBodies(leases: Leases, file: OpenFile, count: number, length: number, first = 0): Body[] {
  return Array.from({ length: count }, (_, index) => {
    const region = { file, offset: (first + index) * length, length, version: undefined };
    leases.acquireBody(region)?.release();
    const body = leases.acquireBody(region);
    if (body === undefined) throw new Error(`body ${first + index} is not kept`);
    return body;
  });
}

function totalBytes(leases: Leases): number {
  const { pooledBytes, idlePooledBytes } = leases.stats();
  return pooledBytes + idlePooledBytes;
}

async function openFile(t: ExecutionContext, size: number): Promise<{ file: OpenFile; artifact: FileArtifact }> {
  const directory = await temporaryDirectory(t);
  writePattern(directory, 'file', size, 1);
  const files = new OpenFiles(loadBindings(), 10);
  t.teardown(() => files.close());
  const artifact: FileArtifact = { kind: 'file', path: join(directory, 'file'), immutable: true };
  const file = await files.acquire(artifact);
  if (file === undefined) throw new Error('the file was not opened');
  t.teardown(() => file.release());
  return { file, artifact };
}
