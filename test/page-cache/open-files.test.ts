import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, openSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextIteration } from 'node:timers/promises';
import test from 'ava';
import { descriptorLimit, loadBindings } from '../../src/page-cache/bindings.js';
import type { OpenFile } from '../../src/page-cache/open-file.js';
import { OpenFiles } from '../../src/page-cache/open-files.js';
import { releaseFile } from '../../src/page-cache/release-file.js';
import { countIterations, useFastClock } from '../helpers/fast-clock.js';
import { assertAllBack, assertBytes, openFileSite } from '../helpers/file-site.js';
import { KIB, MIB, pattern, temporaryDirectory, writePattern } from '../helpers/files.js';
import { descriptorsBelow } from '../helpers/page-cache.js';
import { startPaused } from '../helpers/paused.js';
import { until } from '../helpers/poll.js';

/** Returns the largest value of `measure` while `task` runs. */
async function maximum(measure: () => number, task: () => Promise<void>): Promise<number> {
  let largest = 0;
  let isOver = false;
  const watch = (): void => {
    largest = Math.max(largest, measure());
    if (!isOver) setImmediate(watch);
  };
  watch();
  await task().finally(() => {
    isOver = true;
  });
  return largest;
}

test.serial('128 simultaneous first requests open a file once and map it once', async (t) => {
  for (const kind of ['http', 'h2c'] as const) {
    const site = await openFileSite(t, kind);
    const expected = writePattern(site.directory, 'file', 512 * KIB, 1);
    const largest = await maximum(
      () => Math.max(site.handler.stats().openFiles, descriptorsBelow(site.directory).length),
      async () => {
        const responses = await Promise.all(Array.from({ length: 128 }, () => site.get('file')));
        for (const { body } of responses) assertBytes(t, body, expected);
      },
    );
    t.is(largest, 1);
    t.is(site.handler.stats().mappings, 1);
    t.deepEqual(site.sent(), { mapped: 128 * 512 * KIB });
    await assertAllBack(t, site);
  }
});

test.serial('128 simultaneous requests for a missing file leave no descriptor open', async (t) => {
  const site = await openFileSite(t, 'http', { maxOpenFiles: 4 });
  const responses = await Promise.all(Array.from({ length: 128 }, () => site.get('nothing')));
  t.true(responses.every(({ status }) => status === 404));
  t.is(site.handler.stats().openFiles, 0);
});

test.serial('idle descriptors are closed so that maxOpenFiles is not exceeded', async (t) => {
  const site = await openFileSite(t, 'http', { maxOpenFiles: 8 });
  const files = Array.from({ length: 100 }, (_, index) => writePattern(site.directory, `${index}`, 70 * KIB, index));
  const download = async (index: number): Promise<void> => {
    const { status, body } = await site.get(`${index}`);
    t.is(status, 200);
    assertBytes(t, body, files[index] ?? Buffer.alloc(0));
  };
  const largest = await maximum(
    () => descriptorsBelow(site.directory).length,
    async () => {
      for (let index = 0; index < 100; index++) await download(index);
      for (let index = 0; index < 96; index += 8) {
        await Promise.all(Array.from({ length: 8 }, (_, offset) => download(index + offset)));
      }
    },
  );
  t.is(largest, 8);
  await assertAllBack(t, site);
});

test.serial('if all descriptors are in use, other files get 503 with Retry-After until one is free', async (t) => {
  const site = await openFileSite(t, 'http', { maxOpenFiles: 8 });
  const size = 16 * MIB;
  const downloads = [];
  for (let index = 0; index < 8; index++) {
    writePattern(site.directory, `${index}`, size, index);
    downloads.push(await startPaused(t, site.server, `/${index}`));
  }
  const expected = writePattern(site.directory, 'ninth', 70 * KIB, 9);
  for (let round = 0; round < 3; round++) {
    const refused = await site.get('ninth');
    t.is(refused.status, 503);
    t.regex(String(refused.headers['retry-after']), /^(?:[1-9]|10)$/);
    t.is((await site.get('0', { method: 'HEAD' })).status, 200, 'an open file is still served');
  }
  t.is(descriptorsBelow(site.directory).length, 8);
  const [first, ...others] = downloads;
  assertBytes(t, (await first?.finish()) ?? Buffer.alloc(0), pattern(size, 0));
  await until('a descriptor is free', async () => (await site.get('ninth')).status === 200);
  assertBytes(t, (await site.get('ninth')).body, expected);
  for (const [index, download] of others.entries()) {
    assertBytes(t, await download.finish(), pattern(size, index + 1));
  }
  await assertAllBack(t, site);
});

test.serial('a file that is requested while it is being closed is opened again', async (t) => {
  const site = await openFileSite(t, 'http', { maxOpenFiles: 1 });
  const files = [0, 1, 2].map((index) => writePattern(site.directory, `${index}`, 3000, index));
  for (let round = 0; round < 100; round++) {
    const answers = await Promise.all([0, 1, 2].map((index) => site.get(`${index}`)));
    for (const [index, { status, body }] of answers.entries()) {
      if (status === 200) assertBytes(t, body, files[index] ?? Buffer.alloc(0));
      else t.is(status, 503);
    }
  }
  t.is((await site.get('1')).status, 200);
  t.true(descriptorsBelow(join(site.directory)).length <= 1);
  await assertAllBack(t, site);
});

test.serial('a file that is released while it is opened or checked is not kept for later requests', async (t) => {
  const directory = await temporaryDirectory(t);
  const openFiles = new OpenFiles(loadBindings(), 10);
  t.teardown(() => openFiles.close());
  const path = join(directory, 'file');
  const artifact = { kind: 'file', path, immutable: true } as const;
  for (let round = 0; round < 50; round++) {
    writePattern(directory, 'previous', 100, round);
    renameSync(join(directory, 'previous'), path);
    await releaseFile(path);
    if (round % 2 === 0) (await openFiles.acquire(artifact))?.release();
    // If the file is open, this time makes it be compared with its path.
    const opening = openFiles.acquire(artifact, Number.POSITIVE_INFINITY);
    t.true(opening instanceof Promise);
    writePattern(directory, 'new', 200 + round, round);
    renameSync(join(directory, 'new'), path);
    await releaseFile(path);
    const next = await openFiles.acquire(artifact);
    t.is(next?.size, 200 + round);
    next?.release();
    (await opening)?.release();
  }
  openFiles.close();
  await until('all descriptors are closed', () => openFiles.size === 0);
  t.deepEqual(descriptorsBelow(directory), []);
});

test.serial('if the process has no descriptor left, the error says so', async (t) => {
  const directory = await temporaryDirectory(t);
  writePattern(directory, 'file', 100, 1);
  const openFiles = new OpenFiles(loadBindings(), 10);
  t.teardown(() => openFiles.close());
  const limit = descriptorLimit();
  const setLimit = (soft: number) => execFileSync('prlimit', ['--pid', `${process.pid}`, `--nofile=${soft}:`]);
  setLimit(256);
  const held: number[] = [];
  try {
    t.throws(
      () => {
        for (;;) held.push(openSync(directory, 'r'));
      },
      { code: 'EMFILE' },
    );
    const artifact = { kind: 'file', path: join(directory, 'file') } as const;
    const error = await t.throwsAsync(async () => openFiles.acquire(artifact), { code: 'ERR_HOTBLOB_OVERLOADED' });
    t.is(error?.message, 'no file can be opened: the limit on open descriptors of the process (ulimit -n) is reached');
    t.like(error?.cause, { code: 'EMFILE' });
  } finally {
    for (const fd of held) closeSync(fd);
    setLimit(limit);
  }
});

test.serial('files that have been idle for long are closed in slices', async (t) => {
  const directory = await temporaryDirectory(t);
  const openFiles = new OpenFiles(loadBindings(), 1000);
  t.teardown(() => openFiles.close());
  const files: OpenFile[] = [];
  for (let index = 0; index < 200; index++) {
    const path = join(directory, `${index}`);
    writePattern(directory, `${index}`, 10, index);
    const file = (await openFiles.acquire({ kind: 'file', path })) ?? t.fail();
    file.release();
    files.push(file);
  }
  useFastClock(t);
  for (let call = 0; call < 30_000; call++) performance.now();
  let closed = 0;
  let mostAtOnce = 0;
  await countIterations(openFiles.releaseDeletedFiles(), () => {
    const now = files.filter((file) => file.isRetired).length;
    mostAtOnce = Math.max(mostAtOnce, now - closed);
    closed = now;
  });
  t.true(files.every((file) => file.isRetired));
  t.true(mostAtOnce < 20, `${mostAtOnce} files at once`);
});

test.serial('the least recently used of the idle files are closed', async (t) => {
  const directory = await temporaryDirectory(t);
  const openFiles = new OpenFiles(loadBindings(), 100);
  t.teardown(() => openFiles.close());
  const open = async (index: number): Promise<OpenFile> => {
    const path = join(directory, `${index}`);
    if (!existsSync(path)) writePattern(directory, `${index}`, 10, index);
    return (await openFiles.acquire({ kind: 'file', path })) ?? t.fail();
  };
  const use = async (index: number): Promise<OpenFile> => {
    const file = await open(index);
    file.release();
    await nextIteration(); // the cache itself uses a new file until then
    return file;
  };
  const held = await Promise.all(Array.from({ length: 99 }, (_, index) => open(index)));
  const last = await use(99);
  for (let index = 100; index < 110; index++) await use(index);
  t.true(
    held.every((file) => !file.isRetired),
    'a file in use stays open',
  );
  t.true(last.isRetired);
  for (const file of held) file.release();
  // The files that were used last stay open: those of the first half are used again.
  for (let index = 0; index < 50; index++) await use(index);
  for (let index = 200; index < 240; index++) await use(index);
  t.is(openFiles.size, 100);
  t.true(held.slice(0, 50).filter((file) => file.isRetired).length <= 4);
});
