import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { FailingDisk } from '../../helpers/failing-disk.js';
import { testWith } from '../../helpers/peers.js';
import { temporaryDirectory } from '../fixture.js';
import { transpiled } from './transpiled.js';

const run = promisify(execFile);

/** Arguments of unshare(1) that allow mounting a file system: without a user namespace for root only. */
const UNSHARE = process.getuid?.() === 0 ? '-m' : '-rm';

const testWithMount = testWith(test, 'mount');
const testWithCompiler = testWith(test, 'cc');

testWithMount('on a full disk, uploads are refused and invisible, and the store remains usable', async (t) => {
  const dir = await temporaryDirectory(t);
  const program = await transpiled(t, 'faulty-child.ts');
  const script = 'mount -t tmpfs -o size=2m tmpfs "$1" && exec "$2" "$3" fill "$1/store"';
  const { stdout } = await run('unshare', [UNSHARE, 'sh', '-c', script, 'sh', dir, process.execPath, program]);
  const result = JSON.parse(stdout);
  t.like(result, {
    isConsistent: true,
    after: 'done',
    isFirstStored: true,
    isAfterStored: true,
    findings: 0,
    unhandledRejections: 0,
  });
  t.true(result.large.length > 3 && result.tiny.length > 0 && result.tinyDone > 0);
  for (const failure of [...result.large, ...result.tiny]) {
    t.like(failure, { name: 'HotblobError', code: 'ERR_HOTBLOB_STORAGE_FULL' });
  }
});

for (const [operation, name, mode] of [
  ['a write to a segment', '.segment', 'all'],
  ['a sync of a segment', '.segment', 'sync'],
  ['a write to the index', 'index.mdb', 'all'],
  ['a sync of the index', 'index.mdb', 'sync'],
  ['a write to the meta page of the index', 'index.mdb', 'meta'],
] as const) {
  testWithCompiler(`uploads fail with EIO during a disk failure and succeed after it: ${operation}`, async (t) => {
    const dir = await temporaryDirectory(t);
    const disk = await FailingDisk.compile(dir, name);
    const program = await transpiled(t, 'faulty-child.ts');
    const { stdout } = await run(process.execPath, [program, mode, join(dir, 'store')], {
      env: { ...process.env, ...disk.environment },
      timeout: 30_000,
    });
    const result = JSON.parse(stdout);
    t.like(result, {
      canRead: true,
      after: ['done', 'done'],
      areStoredAfterReopen: true,
      findings: 0,
      unhandledRejections: 0,
    });
    for (const failure of [...result.during, result.again]) t.regex(failure.message, /EIO|Input\/output error/);
    if (mode !== 'meta') t.deepEqual(result.visible, ['before', 'after/1', 'after/2']);
  });
}
