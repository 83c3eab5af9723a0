import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { testWith } from '../../helpers/peers.js';
import { temporaryDirectory } from '../fixture.js';

const PROGRAM = fileURLToPath(new URL('full-disk-child.ts', import.meta.url));
const FULL = 'ERR_HOTBLOB_STORAGE_FULL';
/** Arguments of unshare(1) that allow mounting a file system: without a user namespace for root only. */
const UNSHARE = process.getuid?.() === 0 ? '-m' : '-rm';

const testWithMount = testWith(test, 'mount');

/** Runs a scenario of full-disk-child.ts on a file system of its own. Returns its observations. */
async function run(t: ExecutionContext, scenario: string, mountOptions = 'size=16m'): Promise<Record<string, unknown>> {
  const dir = await temporaryDirectory(t);
  const script = `mount -t tmpfs -o ${mountOptions} tmpfs "$1" && exec "$2" --import=tsx "$3" "$1" "$4"`;
  const args = [UNSHARE, 'sh', '-c', script, 'sh', dir, process.execPath, PROGRAM, scenario];
  const { stdout, stderr } = await promisify(execFile)('unshare', args);
  t.is(stderr, '', 'LMDB writes to stderr if it fails');
  return JSON.parse(stdout);
}

testWithMount('on a file system without a free byte, deletions succeed and make room for uploads', async (t) => {
  const { artifacts, ...result } = await run(t, 'delete');
  t.deepEqual(result, {
    freeWhenFull: 0,
    uploadWhenFull: FULL,
    isLargeDeleted: true,
    deleted: { done: 60 },
    stored: ['new/large', 'new/small'],
  });
  t.true(Number(artifacts) >= 100, `${artifacts} artifacts remain`);
});

testWithMount('on a file system without a free byte, a purge succeeds and makes room for uploads', async (t) => {
  const all = { artifacts: 301, bytes: 6_001_000 };
  t.deepEqual(await run(t, 'purge'), {
    freeWhenFull: 0,
    uploadWhenFull: FULL,
    purged: all,
    result: { artifacts: 0, bytes: 0 },
    all,
    upload: 'done',
  });
});

testWithMount('deletions are refused if another program has used the reserve', async (t) => {
  const { outcomes } = await run(t, 'used reserve');
  const { done, [FULL]: refused, ...others } = Object(outcomes);
  t.true(done > 0 && refused > 0, JSON.stringify(outcomes));
  t.deepEqual(others, {});
});

testWithMount('a reserve of another size is used, too', async (t) => {
  const result = await run(t, 'incomplete reserve');
  t.deepEqual(result, { sizeBefore: 150_000, sizeAfter: 'ENOENT', outcomes: { done: 3 } });
});

testWithMount('a process that cannot open the store does not remove the reserve of the writer', async (t) => {
  t.deepEqual(await run(t, 'locked'), { opened: 'ERR_HOTBLOB_LOCKED', isKept: true });
});

testWithMount('an upload evicts at most as much as it finds dead, and nothing without `maxBytes`', async (t) => {
  t.deepEqual(await run(t, 'reclaim'), {
    undefined: { uploads: [FULL, FULL], artifacts: 10 },
    100000000: { uploads: [FULL, 'done'], artifacts: 1 },
  });
});

testWithMount('a file system that does not report its size is not full', async (t) => {
  t.deepEqual(await run(t, 'unlimited', 'size=0'), { outcomes: { done: 3 } });
});

testWithMount('an upload that announces more than the free space and stalls does not block others', async (t) => {
  t.deepEqual(await run(t, 'slow upload'), { others: ['done', 'done', 'done'], slowEnd: FULL, isSpaceKept: true });
});
