import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import test, { type ExecutionContext } from 'ava';
import { segmentStore } from '../../../src/stores/segments/store.js';
import { content, put, temporaryDirectory, until } from '../fixture.js';
import { assertBody, bodyOfSeed } from './fixture.js';
import { transpiled } from './transpiled.js';

const LOCKED = { name: 'HotblobError', code: 'ERR_HOTBLOB_LOCKED' };

interface WritingChild {
  readonly process: ChildProcess;
  /** Lines of output so far. */
  readonly lines: string[];
}

function startChild(t: ExecutionContext, program: string, dir: string, run: number): WritingChild {
  const child = spawn(process.execPath, [program, dir, String(run)], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  const lines: string[] = [];
  createInterface(child.stdout).on('line', (line) => lines.push(line));
  child.once('exit', (code) => {
    if (code !== null && code > 0) lines.push(`exited with ${code}`);
  });
  return { process: child, lines };
}

async function kill(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  await once(child, 'close');
}

test('a second writer in this or another process is refused until the first one has closed the store', async (t) => {
  const dir = await temporaryDirectory(t);
  const store = await segmentStore(dir);
  await t.throwsAsync(segmentStore(dir), {
    ...LOCKED,
    message: new RegExp(`process ${process.pid} writes to .*readOnly`),
  });
  const other = startChild(t, await transpiled(t, 'writing-child.ts'), dir, 1);
  await once(other.process, 'close');
  t.deepEqual(other.lines, ['locked']);
  await put(store, 'a', content(1000));
  await assertBody(t, store, 'a', content(1000));
  await store.close();
  const next = await segmentStore(dir);
  await assertBody(t, next, 'a', content(1000));
  await next.close();
});

test('a suspended writer keeps the lock; a killed writer loses it', async (t) => {
  const dir = await temporaryDirectory(t);
  const child = startChild(t, await transpiled(t, 'writing-child.ts'), dir, 1);
  await until(() => child.lines.length > 20);
  await t.throwsAsync(segmentStore(dir), { ...LOCKED, message: new RegExp(`process ${child.process.pid} `) });
  child.process.kill('SIGSTOP');
  await t.throwsAsync(segmentStore(dir), LOCKED);
  await kill(child.process);
  const store = await segmentStore(dir);
  await store.close();
  t.false((await readdir(dir)).some((name) => name.endsWith('.socket')));
});

test('exactly one of several processes that start at once gets the lock, also after a kill', async (t) => {
  const dir = await temporaryDirectory(t);
  const program = await transpiled(t, 'writing-child.ts');
  for (let round = 0; round < 5; round++) {
    // In the first round the directory is empty, and any of the children may create the store.
    const children = Array.from({ length: 4 }, (_, index) => startChild(t, program, dir, round * 4 + index + 1));
    await until(() => children.every(({ lines }) => lines.length > 0));
    t.deepEqual(children.map(({ lines }) => lines[0]).sort(), ['locked', 'locked', 'locked', 'opened']);
    const winner = children.find(({ lines }) => lines[0] === 'opened');
    if (winner !== undefined) await kill(winner.process);
  }
});

test('exactly one of several openings that find the writer dead at once gets the lock', async (t) => {
  const dir = await temporaryDirectory(t);
  const program = await transpiled(t, 'writing-child.ts');
  for (let round = 1; round <= 3; round++) {
    const child = startChild(t, program, dir, round);
    await until(() => child.lines.length > 0);
    await kill(child.process);
    const results = await Promise.allSettled(Array.from({ length: 8 }, () => segmentStore(dir)));
    const opened = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    t.is(opened.length, 1);
    for (const result of results) if (result.status === 'rejected') t.like(result.reason, LOCKED);
    for (const store of opened) await store.close();
  }
});

test('the lock works in a directory whose path is too long for a socket', async (t) => {
  const dir = join(await temporaryDirectory(t), 'd'.repeat(100), 'e'.repeat(100));
  await mkdir(dir, { recursive: true });
  const store = await segmentStore(dir);
  await t.throwsAsync(segmentStore(dir), LOCKED);
  t.is((await readdir(dir)).filter((name) => name.endsWith('.socket')).length, 1);
  await store.close();
  t.false((await readdir(dir)).some((name) => name.endsWith('.socket')));
  await (await segmentStore(dir)).close();
});

test('a read-only store returns acknowledged uploads of another process, and has no write methods', async (t) => {
  const dir = await temporaryDirectory(t);
  const child = startChild(t, await transpiled(t, 'writing-child.ts'), dir, 1);
  await until(() => child.lines.length > 0);
  const reader = await segmentStore(dir, { readOnly: true });
  t.false('put' in reader);
  t.false('delete' in reader);
  let readCount = 0;
  // Reads each artifact as soon as it is acknowledged, while the index and the segments grow.
  await until(async () => {
    for (const line of child.lines.splice(0)) {
      const [word, key = '', seed, length] = line.split(' ');
      if (word === 'deleted') t.is(reader.get(key), undefined);
      if (word !== 'put' || key.startsWith('shared/')) continue;
      if (reader.get(key) === undefined) continue; // deleted in the meantime
      await assertBody(t, reader, key, bodyOfSeed(Number(seed), Number(length)));
      readCount++;
    }
    return readCount > 500;
  });
  await kill(child.process);
  await reader.close();
});

test('a read-only store and a writer in one process see the same artifacts', async (t) => {
  const dir = await temporaryDirectory(t);
  const writer = await segmentStore(dir);
  await put(writer, 'a', content(1000));
  const reader = await segmentStore(dir, { readOnly: true });
  await assertBody(t, reader, 'a', content(1000));
  await put(writer, 'b', content(2000));
  await assertBody(t, reader, 'b', content(2000));
  await reader.close();
  await put(writer, 'c', content(3000));
  await assertBody(t, writer, 'c', content(3000));
  await writer.close();
});
