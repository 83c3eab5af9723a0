import {
  chmodSync,
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type ArtifactFile, listArtifactFiles } from '../../../src/cli/artifact-files.js';
import { type WarmResult, warm } from '../../../src/cli/warm/warm.js';
import { fixedMemoryPressure } from '../../../src/memory/pressure.js';
import { memoryGroup } from '../../helpers/cgroup.js';
import { runCommand, runOnTerminal, startCommand } from '../../helpers/command-line.js';
import { GIB, MIB, temporaryDirectory, writePattern } from '../../helpers/files.js';
import { evict, residentBytes } from '../../helpers/page-cache.js';
import { testWith } from '../../helpers/peers.js';
import { until } from '../../helpers/poll.js';
import { startServe } from '../../helpers/serve-child.js';

const NOBODY_UID = 65534;

interface Report extends WarmResult {
  readonly maxBytes: number;
  readonly chosen: { readonly artifacts: number; readonly bytes: number };
}

async function runWarm(t: ExecutionContext, args: readonly string[]): Promise<Report> {
  const { code, stdout, stderr } = await runCommand(['warm', '--json', ...args]);
  t.is(stderr, '');
  t.is(code, 0);
  return JSON.parse(stdout);
}

/** Creates files of 1 MiB that are not in the page cache, in ascending order of last use. */
function createColdFiles(directory: string, names: readonly string[]): string[] {
  return names.map((name, index) => {
    writePattern(directory, name, MIB, index);
    const path = join(directory, name);
    evict(path);
    utimesSync(path, 1000 + index, 1000 + index);
    return path;
  });
}

test('reads the most recently used artifacts up to a size, without changing their access times', async (t) => {
  const directory = await temporaryDirectory(t);
  const [oldest = '', old = '', young = '', large = ''] = createColdFiles(directory, [
    'oldest',
    'old',
    'young',
    'large',
  ]);
  // The most recently used file is larger than --max-size.
  writeFileSync(large, Buffer.alloc(9 * MIB));
  evict(large);
  await until('both artifacts are resident', async () => {
    for (const path of [old, young]) evict(path);
    // With relatime, a read updates an access time that is older than the modification time.
    for (const [index, path] of [oldest, old, young].entries()) utimesSync(path, 1000 + index, 2000 + index);
    const report = await runWarm(t, ['--max-size', '2.5MiB', directory]);
    t.like(report, {
      maxBytes: 2.5 * MIB,
      chosen: { artifacts: 2, bytes: 2 * MIB },
      read: { artifacts: 2, bytes: 2 * MIB },
      resident: { artifacts: 0, bytes: 0 },
      failed: { artifacts: 0, bytes: 0 },
      failure: null,
      stopped: null,
    });
    t.deepEqual(
      [oldest, old, young].map((path) => statSync(path).atimeMs),
      [1_000_000, 1_001_000, 1_002_000],
    );
    // The kernel may have reclaimed pages in the meantime.
    return residentBytes(old) === MIB && residentBytes(young) === MIB;
  });
  for (const path of [oldest, large]) t.is(residentBytes(path), 0, path);
});

test('does not read resident artifacts or resident parts of large artifacts', async (t) => {
  const directory = await temporaryDirectory(t);
  writePattern(directory, 'whole', 2 * MIB, 1);
  const path = join(directory, 'parts');
  const whole = join(directory, 'whole');
  writePattern(directory, 'parts', 12 * MIB, 2);
  await until('the resident pages have not been reclaimed', async () => {
    touchAll(path);
    touchAll(whole);
    evict(path, 6 * MIB, 12 * MIB);
    const { read, resident } = await runWarm(t, [directory]);
    t.true(read.bytes >= 6 * MIB);
    return read.artifacts === 1 && read.bytes === 6 * MIB && resident.artifacts === 1 && resident.bytes === 2 * MIB;
  });
  await until('all pages are resident', async () => {
    const { read, resident, chosen } = await runWarm(t, [directory]);
    t.is(read.artifacts + resident.artifacts, chosen.artifacts);
    return read.bytes === 0 && resident.bytes === 14 * MIB;
  });
  await until('the text shows the same', async () => {
    const { stdout } = await runCommand(['warm', directory]);
    return stdout === '2 of 2 artifacts (14 MiB): 0 read (0 bytes), 2 already in the page cache (14 MiB)\n';
  });
});

function touchAll(path: string): void {
  const fd = openSync(path, 'r');
  const buffer = Buffer.alloc(MIB);
  while (readSync(fd, buffer) > 0);
  closeSync(fd);
}

test('reads the artifacts of a segment store while a server writes to it', async (t) => {
  const { url, dir } = await startServe(t, ['--store', 'segments']);
  for (const key of ['one', 'two']) {
    t.is((await fetch(`${url}/${key}`, { method: 'PUT', body: Buffer.alloc(MIB, key) })).status, 200);
  }
  const [name = ''] = readdirSync(join(dir, 'segments'));
  const segment = join(dir, 'segments', name);
  await until('the latest artifact is resident, and most of the other is not', async () => {
    evict(segment);
    const report = await runWarm(t, ['--max-size', '1MiB', dir]);
    t.like(report, { chosen: { artifacts: 1, bytes: MIB }, stopped: null });
    const bytes = residentBytes(segment);
    return bytes >= MIB && bytes < 1.5 * MIB;
  });
});

async function listFiles(directory: string): Promise<ArtifactFile[]> {
  const files: ArtifactFile[] = [];
  for await (const file of listArtifactFiles(directory)) files.push(file);
  return files;
}

test('stops under memory pressure, even within an artifact', async (t) => {
  const directory = await temporaryDirectory(t);
  const [path = ''] = createColdFiles(directory, ['a']);
  truncateSync(path, 64 * MIB);
  const files = await listFiles(directory);
  const { signal } = new AbortController();
  const none = await warm(files, { memory: fixedMemoryPressure('constrained'), signal, onProgress: () => t.fail() });
  t.like(none, { stopped: 'pressure', read: { artifacts: 0, bytes: 0 } });
  const memory: { level: 'normal' | 'critical' } = { level: 'normal' };
  const some = await warm(files, {
    memory,
    signal,
    onProgress: (bytes) => {
      if (bytes >= 8 * MIB) memory.level = 'critical';
    },
  });
  t.like(some, { stopped: 'pressure', read: { artifacts: 0, bytes: 8 * MIB } });
});

testWith(test, 'cgroup')('reads nothing in a cgroup that is almost full, and prints the reason', async (t) => {
  const limit = 400 * MIB;
  const group = memoryGroup(t, limit);
  const directory = await temporaryDirectory(t);
  const [path = ''] = createColdFiles(directory, ['a']);
  // Shared memory is charged to the cgroup that writes it first, and outlives the process.
  const ballast = `/dev/shm/hotblob-warm-${process.pid}`;
  const before = `${group.join}; head -c ${300 * MIB} /dev/zero > ${ballast}`;
  try {
    const { code, stdout, stderr } = await runCommand(['warm', directory], { before });
    t.is(code, 1);
    t.regex(stdout, /^0 of 0 artifacts/);
    t.regex(stderr, /^hotblob: stopped early: memory pressure is (constrained|critical), 3\d\d.* MiB of 400 MiB in/);
    t.is(residentBytes(path), 0);
  } finally {
    rmSync(ballast, { force: true });
  }
});

/** Interrupts the command while it reads, and asserts that it prints the result so far. */
async function assertInterruptible(t: ExecutionContext, asProcessOne: boolean): Promise<void> {
  const directory = await temporaryDirectory(t);
  writeFileSync(join(directory, 'hole'), '');
  truncateSync(join(directory, 'hole'), 64 * GIB);
  const before = asProcessOne ? 'exec unshare --pid --fork --kill-child "$0" "$@"' : ':';
  const { child, ended } = startCommand(['warm', '--json', '--max-size', '1T', directory], { before });
  t.teardown(() => child.kill('SIGKILL'));
  const pid = () =>
    asProcessOne ? readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim() : child.pid;
  await until('the command has read 100 MiB', () => {
    if (pid() === '') return false; // unshare has not forked yet
    const read = /^rchar: (\d+)$/m.exec(readFileSync(`/proc/${pid()}/io`, 'latin1'))?.[1];
    return Number(read) > 100 * MIB;
  });
  process.kill(Number(pid()), 'SIGINT');
  const { code, stdout, stderr } = await ended;
  t.is(code, 1);
  t.is(stderr, 'hotblob: stopped early: interrupted by a signal\n');
  const { stopped, read, chosen }: Report = JSON.parse(stdout);
  t.is(stopped, 'interrupted');
  t.deepEqual(chosen, { artifacts: 1, bytes: 64 * GIB });
  t.is(read.artifacts, 0);
  t.true(read.bytes >= 50 * MIB && read.bytes < 64 * GIB);
}

test('on SIGINT, stops and prints the result so far', (t) => assertInterruptible(t, false));

testWith(test, 'root')('as process 1 of a container, SIGINT has the same effect', (t) => assertInterruptible(t, true));

test('shows a progress bar only on a terminal', async (t) => {
  const directory = await temporaryDirectory(t);
  createColdFiles(directory, ['a', 'b', 'c']);
  const { code, stdout, stderr } = await runOnTerminal('stderr', ['warm', directory]);
  t.is(code, 0);
  t.regex(stdout, /^3 of 3 artifacts /);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: it erases the line
  t.regex(stderr, /\r\u001b\[K[█▏▎▍▌▋▊▉]+·* \d+% of 3 MiB/);
  t.true(stderr.endsWith('\r\u001b[K'), 'the progress line is erased');
});

test('refuses invalid arguments', async (t) => {
  const directory = await temporaryDirectory(t);
  const file = join(directory, 'file');
  writeFileSync(file, '');
  t.like(await runCommand(['warm']), { code: 2, stdout: '' });
  t.regex(
    (await runCommand(['warm', '--max-size', 'much', directory])).stderr,
    /--max-size: expected .* received 'much'/,
  );
  t.deepEqual(await runCommand(['warm', file]), {
    code: 1,
    stdout: '',
    stderr: `hotblob: ${file}: expected a directory\n`,
  });
  t.regex((await runCommand(['warm', join(directory, 'absent')])).stderr, /^hotblob: ENOENT: .*\n$/);
});

testWith(test, 'root')('reports artifacts that cannot be read and reads the others', async (t) => {
  const directory = await temporaryDirectory(t);
  await mkdir(join(directory, 'artifacts'));
  writePattern(join(directory, 'artifacts'), 'open', 1000, 1);
  writePattern(join(directory, 'artifacts'), 'closed', 1000, 2);
  chmodSync(directory, 0o755);
  chmodSync(join(directory, 'artifacts/closed'), 0o600);
  // The user may not query the residency of the other file, so it is read.
  const { code, stdout, stderr } = await runCommand(['warm', join(directory, 'artifacts')], { uid: NOBODY_UID });
  t.is(code, 1);
  t.regex(stdout, /^1 of 2 artifacts \(2 KiB\): 1 read \(1000 bytes\), 0 already in the page cache/);
  t.regex(stderr, /^hotblob: cannot read 1 artifact; first error: EACCES: .*closed'\n$/);
});
