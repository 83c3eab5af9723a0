import { execFile } from 'node:child_process';
import { chmodSync, readdirSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import type { ResidencySummary } from '../../../src/cli/residency/residency.js';
import { runCommand, runOnTerminal } from '../../helpers/command-line.js';
import { MIB, temporaryDirectory, writePattern } from '../../helpers/files.js';
import { evict, residentBytes } from '../../helpers/page-cache.js';
import { testWith } from '../../helpers/peers.js';
import { until } from '../../helpers/poll.js';
import { startServe } from '../../helpers/serve-child.js';

const run = promisify(execFile);
const NOBODY_UID = 65534;
// biome-ignore lint/suspicious/noControlCharactersInRegex: every escape sequence starts with it
const ESCAPE = /\u001b/;

async function residency(args: readonly string[]): Promise<ResidencySummary> {
  const { stdout } = await runCommand(['residency', '--json', ...args]);
  return JSON.parse(stdout);
}

test('shows the resident bytes of each artifact and in total, without reading the files', async (t) => {
  const directory = await temporaryDirectory(t);
  await mkdir(join(directory, 'sub'));
  writePattern(directory, 'sub/cold', 4 * MIB, 1);
  writePattern(directory, 'warm', 2 * MIB, 2);
  writeFileSync(join(directory, 'empty'), '');
  const cold = join(directory, 'sub/cold');
  const warm = join(directory, 'warm');
  // Other processes may cause the kernel to reclaim pages, but they never read these files.
  await until('only one file is resident', async () => {
    evict(cold);
    writePattern(directory, 'warm', 2 * MIB, 2);
    const { artifacts, rest, total } = await residency([directory]);
    t.deepEqual(
      artifacts.map(({ name, bytes }) => [name, bytes]),
      [
        ['sub/cold', 4 * MIB],
        ['warm', 2 * MIB],
        ['empty', 0],
      ],
    );
    t.deepEqual(rest, { artifacts: 0, bytes: 0, residentBytes: 0, unknown: { artifacts: 0, bytes: 0 } });
    const resident = artifacts[1]?.residentBytes ?? 0;
    t.is(artifacts[0]?.residentBytes, 0);
    t.deepEqual(total, {
      artifacts: 3,
      bytes: 6 * MIB,
      residentBytes: resident,
      unknown: { artifacts: 0, bytes: 0 },
    });
    t.is(residentBytes(cold), 0);
    return resident === 2 * MIB;
  });
  await until('the text shows the same', async () => {
    writePattern(directory, 'warm', 2 * MIB, 2);
    const { code, stdout, stderr } = await runCommand(['residency', warm, cold]);
    t.is(code, 0, stderr);
    t.is(stderr, '');
    const [first, second, all] = stdout.split('\n');
    t.is(first, `  0% ····················        4 MiB  ${cold}`);
    return second === `100% ████████████████████        2 MiB  ${warm}` && /^ 33% .* 6 MiB {2}2 art/.test(all ?? '');
  });
});

test('lists the largest artifacts and sums up the others; with several directories, names include the directory', async (t) => {
  const directory = await temporaryDirectory(t);
  for (const part of ['one', 'two']) {
    await mkdir(join(directory, part));
    for (const size of [1000, 2000, 3000]) writePattern(join(directory, part), `f${size}`, size, size);
  }
  const [one, two] = [join(directory, 'one'), join(directory, 'two')];
  const { artifacts, rest, total } = await residency(['--top', '2', one, two]);
  t.deepEqual(
    artifacts.map(({ name }) => name),
    [join(one, 'f3000'), join(two, 'f3000')],
  );
  t.like(rest, { artifacts: 4, bytes: 6000 });
  t.like(total, { artifacts: 6, bytes: 12000 });
  const { stdout } = await runCommand(['residency', '--top', '1', one]);
  t.regex(stdout, /^.* f3000\n.* 2\.9 KiB {2}2 more\n.* 5\.9 KiB {2}3 artifacts, .* in the page cache\n$/);
  t.is((await residency(['--top', '0', one])).rest.artifacts, 3);
});

test('lists each artifact of a segment store while a server writes to it', async (t) => {
  const { url, dir } = await startServe(t, ['--store', 'segments']);
  const put = async (key: string, size: number) =>
    t.is((await fetch(`${url}/${key}`, { method: 'PUT', body: Buffer.alloc(size, key) })).status, 200);
  await put('large', 3 * MIB);
  await put('middle', MIB);
  await put('tiny', 10);
  const segments = readdirSync(join(dir, 'segments')).map((name) => join(dir, 'segments', name));
  await until('no segment is resident', async () => {
    for (const path of segments) evict(path);
    const { artifacts } = await residency([dir]);
    t.deepEqual(
      artifacts.map(({ name, bytes }) => [name, bytes]),
      [
        ['large', 3 * MIB],
        ['middle', MIB],
        ['tiny', 10],
      ],
    );
    t.is(artifacts[2]?.residentBytes, 10, 'a small artifact is in the index');
    return artifacts[0]?.residentBytes === 0 && artifacts[1]?.residentBytes === 0;
  });
  await until('one artifact is resident', async () => {
    await (await fetch(`${url}/large`)).arrayBuffer();
    const [large] = (await residency([dir])).artifacts;
    return large?.residentBytes === 3 * MIB;
  });
  await put('after', 100_000);
  t.is((await residency([dir])).total.artifacts, 4);
});

testWith(test, 'root')('if residency is unknown, the reason is printed and the exit code is 1', async (t) => {
  const directory = await temporaryDirectory(t);
  chmodSync(directory, 0o755);
  writePattern(directory, 'theirs', 5000, 1);
  writePattern(directory, 'closed', 5000, 1);
  chmodSync(join(directory, 'theirs'), 0o644);
  chmodSync(join(directory, 'closed'), 0o600);
  const plain = await runCommand(['residency', directory], { uid: NOBODY_UID });
  t.is(plain.code, 1);
  t.regex(plain.stdout, /^ {3}\? ·{20} +4\.9 KiB {2}closed\n {3}\? .*theirs\n {3}\? .* 2 artifacts, 0 bytes/);
  t.is(
    plain.stderr,
    'hotblob: residency unknown for 2 artifacts: the kernel reports it only to the owner of a file and to root\n',
  );
  const json = await runCommand(['residency', '--json', directory], { uid: NOBODY_UID });
  t.is(json.code, 1);
  const { artifacts, total }: ResidencySummary = JSON.parse(json.stdout);
  t.is(artifacts[0]?.residentBytes, null);
  t.deepEqual(total.unknown, { artifacts: 2, bytes: 10_000 });
});

test('for a path that cannot be read, an error is printed and the other paths are still shown', async (t) => {
  const directory = await temporaryDirectory(t);
  writePattern(directory, 'there', 5000, 1);
  await run('mkfifo', [join(directory, 'fifo')]);
  const paths = ['absent', 'there', 'fifo'].map((name) => join(directory, name));
  const { code, stdout, stderr } = await runCommand(['residency', ...paths]);
  t.is(code, 1);
  t.regex(stdout, /there\n.* 1 artifact, /);
  t.regex(stderr, /^hotblob: ENOENT: .*absent'\nhotblob: .*fifo: expected a file or a directory\n$/);
  t.like(await runCommand(['residency']), { code: 2, stdout: '' });
  t.regex(
    (await runCommand(['residency', '--top', 'all', '.'])).stderr,
    /--top: expected an integer from 0 to 999999999, received 'all'\nRun 'hotblob residency --help'/,
  );
});

test('prints colours and progress only on a terminal, and escapes control characters in names', async (t) => {
  const directory = await temporaryDirectory(t);
  writePattern(directory, 'plain', 5000, 1);
  writePattern(directory, 'evil\u001b]0;title\u0007\nname\u202e', 6000, 1);
  const evil = / evil\\x1b\]0;title\\x07\\x0aname\\u202e\r?\n/;
  const piped = await runCommand(['residency', directory]);
  t.notRegex(piped.stdout, ESCAPE);
  t.is(piped.stderr, '');
  t.regex(piped.stdout, evil);
  const json = await runCommand(['residency', '--json', directory]);
  t.notRegex(json.stdout, /[\p{Cf}\u0080-\u009f]/u);
  t.is((JSON.parse(json.stdout) as ResidencySummary).artifacts[0]?.name, 'evil\u001b]0;title\u0007\nname\u202e');
  const shown = await runOnTerminal('stdout', ['residency', directory]);
  t.is(shown.code, 0);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: every escape sequence starts with it
  t.regex(shown.stdout, /\u001b\[32m█+/);
  t.regex(shown.stdout, evil);
  t.is(shown.stderr, '');
  t.notRegex((await runOnTerminal('stdout', ['residency', directory], { env: { NO_COLOR: '1' } })).stdout, ESCAPE);
  t.notRegex((await runOnTerminal('stdout', ['residency', directory], { env: { TERM: 'dumb' } })).stdout, ESCAPE);
  const progress = await runOnTerminal('stderr', ['residency', directory]);
  t.is(progress.stdout, piped.stdout);
  t.regex(progress.stderr, /artifacts checked/);
  t.true(progress.stderr.endsWith('\r\u001b[K'), 'the progress line is erased');
});

test('a closed pipe is not an error', async (t) => {
  const directory = await temporaryDirectory(t);
  for (let index = 0; index < 800; index++) writeFileSync(join(directory, `${index}`.padStart(200, 'x')), 'x');
  const command = '"$0" dist/cli.js residency --top 800 "$1" | head -n 1; echo $PIPESTATUS';
  const { stdout, stderr } = await run('bash', ['-c', command, process.execPath, directory]);
  t.regex(stdout, /^.*x+\d+\n0\n$/);
  t.is(stderr, '');
});
