// Uses a segment store on a disk that is full or fails. Arguments: `fill` or the mode of the failing disk, and the directory
// of the store. Writes its observations to stdout as one line of JSON.
import { rm, statfs, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type SegmentStore, segmentStore } from '../../../src/stores/segments/store.js';
import { verifySegments } from '../../../src/stores/segments/verify.js';
import { content, put } from '../fixture.js';

const [mode = '', dir = ''] = process.argv.slice(2);
let unhandledRejections = 0;
process.on('unhandledRejection', () => unhandledRejections++);

interface Failure {
  readonly name: string;
  readonly code: unknown;
  readonly message: string;
}

async function attempt(task: Promise<unknown>): Promise<'done' | Failure> {
  try {
    await task;
    return 'done';
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return { name: error.name, code: 'code' in error ? error.code : undefined, message: error.message };
  }
}

function isStored(store: SegmentStore, key: string): boolean {
  return store.get(key) !== undefined;
}

async function countFindings(): Promise<number> {
  let count = 0;
  for await (const _finding of verifySegments(dir)) count++;
  return count;
}

/** Fills the disk with large bodies, and then with inline ones, which only use the index. */
async function fill(): Promise<object> {
  const store = await segmentStore(dir);
  const ballast = join(dir, 'segments', 'ballast');
  await writeFile(ballast, content(200_000));
  await put(store, 'first', content(300_000));
  const large: ('done' | Failure)[] = [];
  for (let index = 0; index < 10; index++) large.push(await attempt(put(store, `large/${index}`, content(300_000))));
  const tiny: ('done' | Failure)[] = [];
  for (let index = 0; index < 400; index++) {
    const group = Array.from({ length: 20 }, (_, each) => put(store, `tiny/${index}/${each}`, content(200)));
    const results = await Promise.all(group.map(attempt));
    tiny.push(...results);
    if (results.some((result) => result !== 'done')) break;
  }
  const { bavail, bsize } = await statfs(dir);
  const isLargeConsistent = [...large.entries()].every(
    ([index, result]) => isStored(store, `large/${index}`) === (result === 'done'),
  );
  const isTinyConsistent = tiny.every(
    (result, index) => isStored(store, `tiny/${Math.floor(index / 20)}/${index % 20}`) === (result === 'done'),
  );
  await unlink(ballast);
  const after = await attempt(put(store, 'after', content(50_000)));
  const isFirstStored = isStored(store, 'first');
  await store.close();
  const again = await segmentStore(dir);
  const isAfterStored = isStored(again, 'after');
  await again.close();
  return {
    large: large.filter((result) => result !== 'done'),
    tiny: tiny.filter((result) => result !== 'done'),
    tinyDone: tiny.filter((result) => result === 'done').length,
    freeBytes: bavail * bsize,
    isConsistent: isLargeConsistent && isTinyConsistent,
    after,
    isFirstStored,
    isAfterStored,
    findings: await countFindings(),
    unhandledRejections,
  };
}

/** Uploads before, during and after a failure of the disk. Two uploads during the failure run concurrently. */
async function uploadWhileFailing(): Promise<object> {
  const trigger = process.env['FAIL_WHEN'] ?? '';
  const store = await segmentStore(dir);
  await put(store, 'before', content(5000));
  await writeFile(trigger, mode);
  const during = await Promise.all(
    ['during/1', 'during/2'].map((key, seed) => attempt(put(store, key, content(5000, seed)))),
  );
  const again = await attempt(put(store, 'again', content(5000)));
  const canRead = isStored(store, 'before');
  await rm(trigger);
  const after = [];
  for (const key of ['after/1', 'after/2']) after.push(await attempt(put(store, key, content(5000))));
  const visible = ['before', 'during/1', 'during/2', 'again', 'after/1', 'after/2'].filter((key) =>
    isStored(store, key),
  );
  await store.close();
  const reopened = await segmentStore(dir);
  const areStoredAfterReopen = ['before', 'after/1', 'after/2'].every((key) => isStored(reopened, key));
  await reopened.close();
  return {
    during,
    again,
    canRead,
    after,
    visible,
    areStoredAfterReopen,
    findings: await countFindings(),
    unhandledRejections,
  };
}

process.stdout.write(JSON.stringify(mode === 'fill' ? await fill() : await uploadWhileFailing()));
