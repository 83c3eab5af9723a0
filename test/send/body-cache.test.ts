import { renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { FileArtifact } from '../../src/contract/artifact.js';
import type { MemoryPressureLevel } from '../../src/memory/level.js';
import { fixedMemoryPressure } from '../../src/memory/pressure.js';
import { loadBindings } from '../../src/page-cache/bindings.js';
import type { OpenFile } from '../../src/page-cache/open-file.js';
import { OpenFiles } from '../../src/page-cache/open-files.js';
import { releaseFile } from '../../src/page-cache/release-file.js';
import { Connection } from '../../src/send/connection.js';
import { Leases } from '../../src/send/leases.js';
import { assertAllBack, assertBytes, openFileSite, WIRES } from '../helpers/file-site.js';
import { KIB, MIB, pattern, temporaryDirectory, writePattern } from '../helpers/files.js';

for (const kind of WIRES) {
  test(`${kind}: a small immutable artifact is sent from memory from its second request on`, async (t) => {
    const site = await openFileSite(t, kind);
    for (const size of [1, 4 * KIB, 256 * KIB]) {
      const expected = writePattern(site.directory, `${size}`, size, 1);
      const before = site.sent().bytes ?? 0;
      for (let request = 0; request < 3; request++) assertBytes(t, (await site.get(`${size}`)).body, expected);
      t.is(site.sent().bytes, before + 2 * size, `${size} bytes`);
      const range = await site.get(`${size}`, { headers: { range: 'bytes=0-99' } });
      assertBytes(t, range.body, expected.subarray(0, 100));
    }
    await assertAllBack(t, site);
  });
}

test('larger, mutable and empty artifacts are not kept in memory', async (t) => {
  const site = await openFileSite(t, 'http', { artifact: (key) => ({ immutable: key !== 'mutable' }) });
  writePattern(site.directory, 'large', 256 * KIB + 1, 1);
  writePattern(site.directory, 'mutable', 4 * KIB, 1);
  writePattern(site.directory, 'empty', 0, 1);
  for (const key of ['large', 'mutable', 'empty']) {
    for (let request = 0; request < 3; request++) t.is((await site.get(key)).status, 200);
  }
  t.is(site.sent().bytes, undefined);
});

test('a replaced artifact is not sent from memory', async (t) => {
  const site = await openFileSite(t, 'http');
  const path = join(site.directory, 'file');
  for (let version = 1; version < 5; version++) {
    writePattern(site.directory, 'new', 4 * KIB, version);
    renameSync(join(site.directory, 'new'), path);
    await releaseFile(path);
    for (let request = 0; request < 3; request++) {
      assertBytes(t, (await site.get('file')).body, pattern(4 * KIB, version), `version ${version}`);
    }
    t.is(site.sent().bytes, version * 2 * 4 * KIB);
  }
});

test('a deleted artifact is not sent from memory, and its memory is free', async (t) => {
  const site = await openFileSite(t, 'http', { maxPooledBytes: MIB });
  const path = join(site.directory, 'file');
  writePattern(site.directory, 'file', 4 * KIB, 1);
  await site.get('file');
  const copied = site.handler.stats().idlePooledBytes;
  await site.get('file');
  t.is(site.handler.stats().idlePooledBytes, copied + 4 * KIB);
  unlinkSync(path);
  await releaseFile(path);
  t.is(site.handler.stats().idlePooledBytes, copied);
  t.is((await site.get('file')).status, 404);
});

test('artifacts in one file are kept by their position and their length', async (t) => {
  const site = await openFileSite(t, 'http', {
    artifact: (key) => {
      const [offset, length] = key.split('-').map(Number);
      return { path: join(site.directory, 'file'), offset, length };
    },
  });
  const bytes = writePattern(site.directory, 'file', 100 * KIB, 1);
  for (let request = 0; request < 3; request++) {
    for (const [offset, length] of [
      [0, 100],
      [0, 200],
      [100, 100],
      [50_000, 30_000],
    ] as const) {
      const { body } = await site.get(`${offset}-${length}`);
      assertBytes(t, body, bytes.subarray(offset, offset + length), `${length} bytes at ${offset}`);
    }
  }
  t.true((site.sent().bytes ?? 0) > 0);
});

test('a file that was rewritten in spite of the promise is not sent from memory under its new entity tag', async (t) => {
  const { file, artifact } = await openFile(t, 4 * KIB);
  const leases = new Leases(64 * MIB, fixedMemoryPressure('normal'));
  const region = { file, offset: 0, length: 4 * KIB };
  leases.acquireBody({ ...region, version: '"a"' });
  leases.acquireBody({ ...region, version: '"a"' })?.release();
  writeFileSync(artifact.path, pattern(4 * KIB, 2));
  const body = leases.acquireBody({ ...region, version: '"b"' });
  assertBytes(t, body?.memory ?? Buffer.alloc(0), pattern(4 * KIB, 2));
  t.is(leases.stats().pooledBytes, 4 * KIB, 'the previous body is no longer counted');
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
  const bodies = Array.from({ length: 64 }, (_, index) => {
    const region = { file, offset: index * 4 * KIB, length: 4 * KIB, version: undefined };
    leases.acquireBody(region);
    return leases.acquireBody(region);
  });
  t.is(leases.stats().pooledBytes, 256 * KIB, 'all are being sent');
  for (const body of bodies.slice(1)) body?.release();
  const buffers = [];
  for (;;) {
    const buffer = leases.acquireBuffer(new Connection(false), 4 * KIB);
    if (buffer === undefined) break;
    buffers.push(buffer);
    const { pooledBytes, idlePooledBytes } = leases.stats();
    t.true(pooledBytes + idlePooledBytes <= MIB);
  }
  t.is(leases.stats().pooledBytes, MIB);
  t.is(buffers.length, 255, 'all but the body that is being sent');
  bodies[0]?.release();
  t.is(leases.stats().pooledBytes, 255 * 4 * KIB);
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
  t.is(leases.stats().idlePooledBytes, 60 * 32 * KIB);
  memory.level = 'critical';
  const connection = new Connection(false);
  const buffer = leases.acquireBuffer(connection, 4 * KIB);
  if (buffer !== undefined) leases.releaseBuffer(connection, buffer, true);
  t.is(leases.stats().idlePooledBytes, 0);
});

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
