// What a segment store does on a disk that is full, or fails. Arguments: what to do, and the directory. Says what it saw
// as one line of JSON.
import { rm, statfs, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type SegmentStore, segmentStore } from '../../../src/stores/segments/store.js';
import { verifySegments } from '../../../src/stores/segments/verify.js';
import { content, put } from '../fixture.js';

const [task = '', dir = ''] = process.argv.slice(2);
let unhandled = 0;
process.on('unhandledRejection', () => unhandled++);

interface Seen {
  readonly name: string;
  readonly code: unknown;
  readonly message: string;
}

async function attempt(task: Promise<unknown>): Promise<'done' | Seen> {
  try {
    await task;
    return 'done';
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return { name: error.name, code: 'code' in error ? error.code : undefined, message: error.message };
  }
}

function isThere(store: SegmentStore, key: string): boolean {
  return store.get(key) !== undefined;
}

async function countFindings(): Promise<number> {
  let count = 0;
  for await (const _finding of verifySegments(dir)) count++;
  return count;
}

/** Uploads until the disk is full, once with large bodies and once with tiny ones, which fill the index alone. */
async function fill(): Promise<object> {
  const store = await segmentStore(dir);
  const ballast = join(dir, 'segments', 'ballast');
  await writeFile(ballast, content(200_000));
  await put(store, 'first', content(300_000));
  const large: ('done' | Seen)[] = [];
  for (let index = 0; index < 10; index++) large.push(await attempt(put(store, `large/${index}`, content(300_000))));
  const tiny: ('done' | Seen)[] = [];
  for (let index = 0; index < 400; index++) {
    const group = Array.from({ length: 20 }, (_, each) => put(store, `tiny/${index}/${each}`, content(200)));
    const results = await Promise.all(group.map(attempt));
    tiny.push(...results);
    if (results.some((result) => result !== 'done')) break;
  }
  const { bavail, bsize } = await statfs(dir);
  const visible = [...large.entries()].every(
    ([index, result]) => isThere(store, `large/${index}`) === (result === 'done'),
  );
  const tinyVisible = tiny.every(
    (result, index) => isThere(store, `tiny/${Math.floor(index / 20)}/${index % 20}`) === (result === 'done'),
  );
  await unlink(ballast);
  const after = await attempt(put(store, 'after', content(50_000)));
  const isFirstThere = isThere(store, 'first');
  await store.close();
  const again = await segmentStore(dir);
  const isAfterThere = isThere(again, 'after');
  await again.close();
  return {
    large: large.filter((result) => result !== 'done'),
    tiny: tiny.filter((result) => result !== 'done'),
    tinyDone: tiny.filter((result) => result === 'done').length,
    freeBytes: bavail * bsize,
    visible: visible && tinyVisible,
    after,
    isFirstThere,
    isAfterThere,
    findings: await countFindings(),
    unhandled,
  };
}

/** Two uploads while the disk fails, at the same time, and one before and after. */
async function fail(mode: string): Promise<object> {
  const when = process.env['FAIL_WHEN'] ?? '';
  const store = await segmentStore(dir);
  await put(store, 'before', content(5000));
  await writeFile(when, mode);
  const during = await Promise.all(
    ['during/1', 'during/2'].map((key, seed) => attempt(put(store, key, content(5000, seed)))),
  );
  const again = await attempt(put(store, 'again', content(5000)));
  const canRead = isThere(store, 'before');
  await rm(when);
  const after = [];
  for (const key of ['after/1', 'after/2']) after.push(await attempt(put(store, key, content(5000))));
  const visible = ['before', 'during/1', 'during/2', 'again', 'after/1', 'after/2'].filter((key) =>
    isThere(store, key),
  );
  await store.close();
  const reopened = await segmentStore(dir);
  const kept = ['before', 'after/1', 'after/2'].every((key) => isThere(reopened, key));
  await reopened.close();
  return { during, again, canRead, after, visible, kept, findings: await countFindings(), unhandled };
}

process.stdout.write(JSON.stringify(task === 'fill' ? await fill() : await fail(task)));
