import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { FailingDisk } from '../../helpers/failing-disk.js';
import { temporaryDirectory } from '../fixture.js';
import { transpiled } from './transpiled.js';

const run = promisify(execFile);

/** What a test cannot have is said, and is an error where it must have it. */
function leaveOut(t: ExecutionContext, what: string, error: unknown): void {
  t.falsy(process.env['CI'], 'where CI is set the test must run');
  t.log(`left out: needs ${what}: ${error instanceof Error ? error.message : error}`);
  t.pass();
}

async function isAvailable(file: string, args: readonly string[]): Promise<true | unknown> {
  return run(file, args).then(
    () => true,
    (error: unknown) => error,
  );
}

test('a disk that is full: refused, nothing of it visible, and the store goes on', async (t) => {
  const namespaces = process.getuid?.() === 0 ? '-m' : '-rm';
  const available = await isAvailable('unshare', [namespaces, 'true']);
  if (available !== true) return leaveOut(t, 'root or user namespaces, to mount a small file system', available);
  const dir = await temporaryDirectory(t);
  const program = await transpiled(t, 'faulty-child.ts');
  const script = 'mount -t tmpfs -o size=2m tmpfs "$1" && exec "$2" "$3" fill "$1/store"';
  const { stdout } = await run('unshare', [namespaces, 'sh', '-c', script, 'sh', dir, process.execPath, program]);
  const result = JSON.parse(stdout);
  t.like(result, { visible: true, after: 'done', isFirstThere: true, isAfterThere: true, findings: 0, unhandled: 0 });
  t.true(result.large.length > 3 && result.tiny.length > 0 && result.tinyDone > 0);
  for (const refused of [...result.large, ...result.tiny]) {
    t.like(refused, { name: 'HotblobError', code: 'ERR_HOTBLOB_STORAGE_FULL' });
  }
});

for (const [what, name, mode] of [
  ['a segment cannot be written', '.segment', 'all'],
  ['a segment cannot be synced', '.segment', 'sync'],
  ['the index cannot be written', 'index.mdb', 'all'],
  ['the index cannot be synced', 'index.mdb', 'sync'],
  ['the first page of the index cannot be written', 'index.mdb', 'meta'],
] as const) {
  test(`a disk that fails: ${what}`, async (t) => {
    const dir = await temporaryDirectory(t);
    const disk = await FailingDisk.compile(dir, name).catch((error: unknown) => leaveOut(t, 'a C compiler', error));
    if (disk === undefined) return;
    const program = await transpiled(t, 'faulty-child.ts');
    const { stdout } = await run(process.execPath, [program, mode, join(dir, 'store')], {
      env: { ...process.env, ...disk.environment },
      timeout: 30_000,
    });
    const result = JSON.parse(stdout);
    t.like(result, { canRead: true, after: ['done', 'done'], kept: true, findings: 0, unhandled: 0 });
    for (const failed of [...result.during, result.again]) t.regex(failed.message, /EIO|Input\/output error/);
    if (mode !== 'meta') t.deepEqual(result.visible, ['before', 'after/1', 'after/2']);
  });
}
