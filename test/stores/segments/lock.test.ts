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

interface Writing {
  readonly process: ChildProcess;
  /** What it says, line by line, as soon as it does. */
  readonly lines: string[];
}

function startWriting(t: ExecutionContext, program: string, dir: string, run: number): Writing {
  const child = spawn(process.execPath, [program, dir, String(run)], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  const lines: string[] = [];
  createInterface(child.stdout).on('line', (line) => lines.push(line));
  child.once('exit', (code) => {
    if (code !== null && code > 0) lines.push(`ended with ${code}`);
  });
  return { process: child, lines };
}

async function kill(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  await once(child, 'close');
}

test('a second writer is refused, in this process and in others, until the first one has closed', async (t) => {
  const dir = await temporaryDirectory(t);
  const store = await segmentStore(dir);
  await t.throwsAsync(segmentStore(dir), {
    ...LOCKED,
    message: new RegExp(`process ${process.pid} writes to .*readOnly`),
  });
  const other = startWriting(t, await transpiled(t, 'writing-child.ts'), dir, 1);
  await once(other.process, 'close');
  t.deepEqual(other.lines, ['locked']);
  await put(store, 'a', content(1000));
  await assertBody(t, store, 'a', content(1000));
  await store.close();
  const next = await segmentStore(dir);
  await assertBody(t, next, 'a', content(1000));
  await next.close();
});

test('a writer that is stopped still has the directory; one that was killed has not', async (t) => {
  const dir = await temporaryDirectory(t);
  const writing = startWriting(t, await transpiled(t, 'writing-child.ts'), dir, 1);
  await until(() => writing.lines.length > 20);
  await t.throwsAsync(segmentStore(dir), { ...LOCKED, message: new RegExp(`process ${writing.process.pid} `) });
  writing.process.kill('SIGSTOP');
  await t.throwsAsync(segmentStore(dir), LOCKED);
  await kill(writing.process);
  const store = await segmentStore(dir);
  await store.close();
  t.false((await readdir(dir)).some((name) => name.endsWith('.socket')));
});

test('of many that start after a kill, one alone gets the directory', async (t) => {
  const dir = await temporaryDirectory(t);
  const program = await transpiled(t, 'writing-child.ts');
  for (let round = 0; round < 5; round++) {
    // The first time there is nothing yet, and each of them may be the one that makes it.
    const children = Array.from({ length: 4 }, (_, index) => startWriting(t, program, dir, round * 4 + index + 1));
    await until(() => children.every(({ lines }) => lines.length > 0));
    t.deepEqual(children.map(({ lines }) => lines[0]).sort(), ['locked', 'locked', 'locked', 'opened']);
    const winner = children.find(({ lines }) => lines[0] === 'opened');
    if (winner !== undefined) await kill(winner.process);
  }
});

test('of many that find the last writer dead at the same moment, one alone gets the directory', async (t) => {
  const dir = await temporaryDirectory(t);
  const program = await transpiled(t, 'writing-child.ts');
  for (let round = 1; round <= 3; round++) {
    const writing = startWriting(t, program, dir, round);
    await until(() => writing.lines.length > 0);
    await kill(writing.process);
    const results = await Promise.allSettled(Array.from({ length: 8 }, () => segmentStore(dir)));
    const opened = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    t.is(opened.length, 1);
    for (const result of results) if (result.status === 'rejected') t.like(result.reason, LOCKED);
    for (const store of opened) await store.close();
  }
});

test('the path of the directory may be longer than that of a socket can be', async (t) => {
  const dir = join(await temporaryDirectory(t), 'd'.repeat(100), 'e'.repeat(100));
  await mkdir(dir, { recursive: true });
  const store = await segmentStore(dir);
  await t.throwsAsync(segmentStore(dir), LOCKED);
  t.is((await readdir(dir)).filter((name) => name.endsWith('.socket')).length, 1);
  await store.close();
  t.false((await readdir(dir)).some((name) => name.endsWith('.socket')));
  await (await segmentStore(dir)).close();
});

test('other processes read what is written while it is, and cannot write', async (t) => {
  const dir = await temporaryDirectory(t);
  const writing = startWriting(t, await transpiled(t, 'writing-child.ts'), dir, 1);
  await until(() => writing.lines.length > 0);
  const reader = await segmentStore(dir, { readOnly: true });
  t.false('put' in reader);
  t.false('delete' in reader);
  let seen = 0;
  // Each one as soon as it has been acknowledged, while the index and the segments grow.
  await until(async () => {
    for (const line of writing.lines.splice(0)) {
      const [word, key = '', seed, length] = line.split(' ');
      if (word === 'deleted') t.is(reader.get(key), undefined);
      if (word !== 'put' || key.startsWith('shared/')) continue;
      if (reader.get(key) === undefined) continue; // deleted since
      await assertBody(t, reader, key, bodyOfSeed(Number(seed), Number(length)));
      seen++;
    }
    return seen > 500;
  });
  await kill(writing.process);
  await reader.close();
  t.pass();
});

test('a reader and a writer in one process', async (t) => {
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
