import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { adviceFor } from '../../../src/cli/doctor/advice.js';
import type { Diagnosis } from '../../../src/cli/doctor/diagnosis.js';
import { diagnoseDirectory } from '../../../src/cli/doctor/directory.js';
import { checkServe } from '../../../src/cli/doctor/serve-checks.js';
import { parseServeOptions } from '../../../src/cli/serve/serve-options.js';
import { startWarnings } from '../../../src/cli/serve/start-warnings.js';
import { type Bindings, loadBindings } from '../../../src/page-cache/bindings.js';
import { directoryStore } from '../../../src/stores/directory/store.js';
import { segmentStore } from '../../../src/stores/segments/store.js';
import { tieredStore } from '../../../src/stores/tiered/store.js';
import { upstreamStore } from '../../../src/stores/upstream/store.js';
import { certificate, generateCertificate } from '../../helpers/certificate.js';
import { runCommand } from '../../helpers/command-line.js';
import { temporaryDirectory } from '../../helpers/files.js';
import { testWith } from '../../helpers/peers.js';

const run = promisify(execFile);
const NOBODY_UID = 65534;

interface Ended {
  readonly code: number;
  readonly stdout: string;
}

interface Launch {
  /** User to switch to. Requires root. */
  readonly uid?: number;
  /** Shell command to run first. */
  readonly before?: string;
}

async function doctor(args: readonly string[], { uid, before = ':' }: Launch = {}): Promise<Ended> {
  const command = ['-c', `${before}; exec "$0" "$@"`, process.execPath, 'dist/cli.js', 'doctor', ...args];
  try {
    const { stdout } = await run('bash', command, { ...(uid !== undefined && { uid, gid: uid }) });
    return { code: 0, stdout };
  } catch (error) {
    const { code, stdout } = Object(error) as Ended; // the properties of an error of execFile()
    return { code, stdout };
  }
}

async function diagnose(directories: readonly string[], launch?: Launch): Promise<Diagnosis & { code: number }> {
  const { code, stdout } = await doctor(['--json', ...directories], launch);
  return { code, ...JSON.parse(stdout) };
}

/** Returns the type of the file system of a directory. */
async function fileSystemType(directory: string): Promise<string> {
  const { stdout } = await run('findmnt', ['--noheadings', '--output=FSTYPE', '--target', directory]);
  return stdout.trim();
}

async function createStoreDirectory(t: ExecutionContext, directory: string): Promise<string> {
  await directoryStore(directory);
  await writeFile(join(directory, 'artifact'), 'artifact');
  t.teardown(() => rm(directory, { recursive: true }));
  return directory;
}

test('reports the available features, and how directories on different file systems would be served', async (t) => {
  const onDisk = await createStoreDirectory(t, join(await temporaryDirectory(t), 'artifacts'));
  const inMemory = await mkdtemp('/dev/shm/hotblob-doctor-');
  t.teardown(() => rm(inMemory, { recursive: true }));
  await writeFile(join(inMemory, 'artifact'), 'artifact');
  const diagnosis = await diagnose([onDisk, inMemory]);
  t.is(diagnosis.code, 0);
  t.deepEqual(diagnosis.optional, { 'mmap-io': 'active', koffi: 'active', lmdb: 'active' });
  t.like(diagnosis, { mapper: 'mmap-io', copiesResident: true, node: process.version });
  t.like(diagnosis.directories[0], {
    directory: onDisk,
    problem: null,
    store: 'directory',
    immutable: true,
    residency: 'truthful',
    fileSystem: await fileSystemType(onDisk),
  });
  // tmpfs does not support RWF_NOWAIT.
  t.like(diagnosis.directories[1], {
    store: 'directory',
    immutable: false,
    copiesResident: false,
    residency: 'truthful',
    fileSystem: 'tmpfs',
  });
  t.deepEqual(await readdir(inMemory), ['artifact']);
  t.deepEqual(await readdir(onDisk), ['.hotblob', 'artifact']);
});

test('the text has one line for each feature and for each directory', async (t) => {
  const directory = await createStoreDirectory(t, join(await temporaryDirectory(t), 'artifacts'));
  const { code, stdout } = await doctor([directory]);
  t.is(code, 0);
  const lines = stdout.split('\n');
  for (const name of [
    'hotblob',
    'mapping',
    'page-cache copy',
    'memory pressure',
    'descriptors',
    'buffer pool',
    directory,
  ]) {
    t.true(
      lines.some((line) => line.startsWith(`${name} `)),
      `${name}: ${stdout}`,
    );
  }
  t.regex(stdout, /; mapped; /);
});

test('for a directory that cannot be served, the reason is printed and the exit code is 1; the others are still diagnosed', async (t) => {
  const root = await temporaryDirectory(t);
  await mkdir(join(root, 'good'));
  await writeFile(join(root, 'file'), '');
  const { code, directories } = await diagnose([join(root, 'absent'), join(root, 'good'), join(root, 'file')]);
  t.is(code, 1);
  t.deepEqual(
    directories.map(({ problem }) => problem),
    ['it does not exist', null, 'it is not a directory'],
  );
  t.deepEqual(await readdir(root), ['file', 'good']);
  t.regex((await doctor([join(root, 'absent')])).stdout, /absent +cannot be served: it does not exist\n/);
});

testWith(test, 'root')('files of another user are not mapped, and chown is suggested', async (t) => {
  const root = await temporaryDirectory(t);
  chmodSync(root, 0o755);
  const theirs = await createStoreDirectory(t, join(root, 'theirs'));
  // A store creates directories and files for this user only.
  for (const path of ['', '.hotblob']) chmodSync(join(theirs, path), 0o755);
  for (const path of ['artifact', '.hotblob/immutable']) chmodSync(join(theirs, path), 0o644);
  await mkdir(join(root, 'closed'), { mode: 0o700 });
  writeFileSync(join(root, 'closed', 'artifact'), '');
  const diagnosis = await diagnose([theirs, join(root, 'closed')], { uid: NOBODY_UID });
  t.is(diagnosis.code, 1);
  t.like(diagnosis.directories[0], { problem: null, residency: 'untrusted', untrustedFile: join(theirs, 'artifact') });
  t.is(diagnosis.directories[1]?.problem, 'this user has no permission to read it');
  t.is(diagnosis.improvement?.command, `chown -R "$(id -u)" ${theirs}`);
  t.like((await diagnose([theirs])).directories[0], { residency: 'truthful', untrustedFile: null });
});

test('reports the limits of the process', async (t) => {
  const { limits, improvement } = await diagnose([], { before: 'ulimit -n 1000' });
  t.like(limits, { descriptors: 1000, openFiles: 500, mappings: 500 });
  t.regex(improvement?.command ?? '', /^ulimit -n \d+$/);
});

test('on a platform where koffi cannot map, the command that builds mmap-io is suggested', async (t) => {
  const here = await diagnose([]);
  const mac = { ...here, platform: 'darwin arm64', mapper: null, copiesResident: false } as const;
  const advice = (state: string) => adviceFor({ ...mac, optional: { ...here.optional, 'mmap-io': state } })?.command;
  t.is(advice('absent'), 'CXXFLAGS=-std=gnu++20 npm install mmap-io@^1.1.7 --ignore-scripts=false');
  t.is(advice('no bindings file'), 'CXXFLAGS=-std=gnu++20 npm rebuild mmap-io --ignore-scripts=false');
});

test('a mincore that reports every page as resident is recognised as unreliable', async (t) => {
  const bindings: Bindings = {
    ...loadBindings(),
    map: (_fd, _offset, length) => ({ bytes: new Uint8Array(length), isResident: () => true, unmap() {} }),
  };
  t.is((await diagnoseDirectory(await temporaryDirectory(t), bindings)).residency, 'lying');
});

test('where serve would not start, doctor names the same cause with exit code 1', async (t) => {
  const root = await temporaryDirectory(t);
  const file = (name: string, text = '') => {
    writeFileSync(join(root, name), text, { mode: 0o600 });
    return join(root, name);
  };
  const { cert } = await certificate();
  const tls = ['--tls-cert', file('cert.pem', cert), '--tls-key'];
  const other = createServer();
  await once(other.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => other.close());
  const { port } = other.address() as AddressInfo; // an AddressInfo because the server listens on a port
  await mkdir(join(root, 'project'));
  file('project/package.json');
  const upstream = ['--upstream', 'http://user:secret@127.0.0.1:1'];
  const cases: [args: string[], cause: RegExp, token?: string][] = [
    [
      ['--tokens', file('tokens', 'wriet ci-0b6f2c9a41d84e57\n')],
      /^--tokens: .*tokens:1: expected one of 'read', 'write'/,
    ],
    [[...tls, file('key.pem', (await generateCertificate()).key)], /^--tls-key: .* does not belong to the certificate/],
    [['--port', String(port)], new RegExp(`^--port: another process listens on port ${port} of 127`)],
    [['--store', 'segments', '--dir', join(root, 'project')], /^--dir: expected an empty directory .*'package\.json'/],
    [[...upstream, '--spool-dir', join(root, 'no')], /^--spool-dir: expected a writable directory, received .*ENOENT/],
    [upstream, /^HOTBLOB_UPSTREAM_TOKEN: cannot be combined with credentials/, 'ci-0b6f2c9a41d84e57'],
    [upstream, /^HOTBLOB_UPSTREAM_TOKEN: expected visible ASCII characters/, 'ci-0b6f2c9a41d84e57\n'],
  ];
  for (const [args, cause, token = ''] of cases) {
    const dir = args.includes('--dir') ? [] : ['--dir', join(root, 'new')];
    const all = [...dir, ...(args.includes('--port') ? [] : ['--port', '0']), ...args];
    const launch = { before: `export HOTBLOB_UPSTREAM_TOKEN='${token}'` };
    const { code, serve } = await diagnose(all, launch);
    t.is(code, 1);
    t.is(serve?.problems.length, 1);
    t.regex(serve?.problems[0] ?? '', cause);
    const served = await runCommand(['serve', ...all], launch);
    t.is(served.code, 1);
    t.is(served.stderr, `hotblob: ${serve?.problems[0]}\n`);
  }
});

test('the lines of HOTBLOB_TOKENS are checked, with or without --oidc', async (t) => {
  const dir = await temporaryDirectory(t);
  const tokens = 'write dev-55c1a8e07b3f9d24 protocol=nx';
  const invalid = join(dir, 'rules.json');
  writeFileSync(invalid, '{}', { mode: 0o600 });
  for (const oidc of [undefined, invalid]) {
    const options = parseServeOptions('0.0.0', { dir: join(dir, 'new'), port: '0', tokens, ...(oidc && { oidc }) });
    const { problems } = await checkServe({ options, given: new Set() });
    t.is(problems.length, 1);
    t.regex(problems[0] ?? '', /^HOTBLOB_TOKENS:1: expected protocols=/);
  }
});

test('the directory of serve is checked: a file, a link, a project, a new one', async (t) => {
  const root = await temporaryDirectory(t);
  writeFileSync(join(root, 'file'), '');
  await mkdir(join(root, 'target'));
  await symlink('target', join(root, 'link'));
  const check = async (...args: string[]) => (await diagnose(['--port', '0', ...args])).serve;
  t.regex((await check('--dir', join(root, 'file')))?.problems[0] ?? '', /^--dir: .*file is not a directory$/);
  t.like(await check('--dir', join(root, 'link')), {
    problems: [],
    warnings: [`--dir: ${join(root, 'link')} is a symbolic link to ${join(root, 'target')}`],
  });
  await mkdir(join(root, 'project'));
  writeFileSync(join(root, 'project', 'package.json'), '{}');
  const project = await check('--dir', join(root, 'project'), '--max-size', '50');
  t.deepEqual(project?.problems, []);
  t.regex(project?.warnings[0] ?? '', /^--max-size: the cache holds only 50 bytes \(did you mean 50GiB\?\)$/);
  t.regex(
    project?.warnings[1] ?? '',
    /project already contains files: clients can read and replace them, and --max-size/,
  );
  const plain = ['--store', 'directory', '--verify-reads', '--dir', join(root, 'target')];
  t.regex((await check(...plain))?.problems[0] ?? '', /^--verify-reads requires a segment store/);
  t.deepEqual(await check('--dir', join(root, 'new')), { problems: [], warnings: [] });
  await mkdir(join(root, 'target', 'lost+found'));
  t.deepEqual(await check('--dir', join(root, 'target')), { problems: [], warnings: [] });
  t.deepEqual((await readdir(root)).sort(), ['file', 'link', 'project', 'target']);
  t.deepEqual(await readdir(join(root, 'target')), ['lost+found']);
});

test('segments without their index and a format of a later version are problems for doctor, serve and verify', async (t) => {
  const root = await temporaryDirectory(t);
  const [lost, later] = [join(root, 'lost'), join(root, 'later')];
  for (const dir of [lost, later]) {
    const store = await segmentStore(dir);
    await store.put('key', Readable.from([Buffer.alloc(100_000)]));
    await store.close();
  }
  await rm(join(lost, 'index.mdb'));
  writeFileSync(join(later, 'format'), 'format 2\n');
  for (const [dir, problem] of [
    [lost, /dir: expected a complete segment store, received segments without 'index\.mdb'/],
    [later, /dir: expected a store of format 1, received one that was written by format 2 at .*; upgrade hotblob/],
  ] as const) {
    for (const kind of [[], ['--store', 'segments']]) {
      const args = ['--port', '0', '--dir', dir, ...kind];
      const { code, serve } = await diagnose(args);
      t.is(code, 1);
      t.is(serve?.problems.length, 1);
      t.regex(serve?.problems[0] ?? '', problem);
      t.is((await runCommand(['serve', ...args])).stderr, `hotblob: ${serve?.problems[0]}\n`);
    }
    t.regex((await runCommand(['verify', dir])).stderr, problem);
  }
});

test('a default port or directory that another process uses is a warning, because doctor may run beside the server', async (t) => {
  const dir = join(await temporaryDirectory(t), 'open');
  const store = await segmentStore(dir);
  t.teardown(() => store.close());
  const other = createServer();
  await once(other.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => other.close());
  const { port } = other.address() as AddressInfo; // an AddressInfo because the server listens on a port
  const options = parseServeOptions('0.0.0', { dir, port: String(port) });
  const { problems, warnings } = await checkServe({ options, given: new Set() });
  t.deepEqual(problems, []);
  t.deepEqual(warnings, [
    `--dir: ${dir} is served read-only, uploads are refused: another process writes to it`,
    `--port: a process, perhaps a server, listens on port ${port} of 127.0.0.1; another server needs another --port`,
  ]);
  t.is((await checkServe({ options, given: new Set(['port']) })).problems.length, 1);
});

test('uploads and deletions that a server queued are a warning unless this server sends them', async (t) => {
  const dir = await temporaryDirectory(t);
  const queueDir = join(dir, '.hotblob', 'replication');
  const local = await directoryStore(dir);
  // The connections of the remote store are refused.
  const remote = upstreamStore('http://127.0.0.1:1');
  const tiers = await tieredStore({ local, remote, writes: 'writeBack', queueDir });
  await tiers.put('key', Readable.from(['artifact']));
  for (const store of [tiers, remote, local]) await store.close();
  const warningsFor = async (values: Parameters<typeof parseServeOptions>[1]) => {
    const options = parseServeOptions('0.0.0', { dir, ...values });
    return (await startWarnings(options, undefined)).filter((line) => line.startsWith('--upstream-mode'));
  };
  const upstream = 'http://127.0.0.1:1';
  const expected = `--upstream-mode: the upstream has not received 1 queued change in ${queueDir}; to send them, use write-back again, otherwise delete this directory`;
  t.deepEqual(await warningsFor({}), [expected]);
  t.deepEqual(await warningsFor({ upstream }), [expected]);
  t.deepEqual(await warningsFor({ upstream, 'upstream-mode': 'write-back' }), []);
});

testWith(test, 'root')('a directory that this user may not create or write is named', async (t) => {
  const root = await temporaryDirectory(t);
  chmodSync(root, 0o755);
  await mkdir(join(root, 'theirs'), { mode: 0o755 });
  const check = (dir: string, ...args: string[]) =>
    diagnose(['--port', '0', '--dir', join(root, dir), ...args], { uid: NOBODY_UID });
  const denied = await check('new/artifacts');
  t.is(denied.code, 1);
  t.deepEqual(denied.serve?.problems, [
    `--dir: ${join(root, 'new/artifacts')} does not exist, and this user may not create it in ${root}`,
  ]);
  const readOnly = /^--dir: .* is served read-only, uploads are refused: .*EACCES/;
  const plain = await check('theirs', '--store', 'directory');
  t.is(plain.code, 0);
  t.regex(plain.serve?.warnings[0] ?? '', readOnly);
  await mkdir(join(root, 'theirs', '.hotblob', 'uploads'), { recursive: true });
  chmodSync(join(root, 'theirs', '.hotblob'), 0o755);
  chmodSync(join(root, 'theirs', '.hotblob', 'uploads'), 0o777);
  t.regex((await check('theirs', '--store', 'directory')).serve?.warnings[0] ?? '', readOnly);
  for (const [dir, ...args] of [
    ['new', '--store', 'segments'],
    ['theirs', '--store', 'directory', '--upstream', 'http://127.0.0.1:1'],
  ] as const) {
    await mkdir(join(root, 'new'), { mode: 0o755, recursive: true });
    const all = ['--port', '0', '--dir', join(root, dir), ...args];
    const { stderr } = await runCommand(['serve', ...all], { uid: NOBODY_UID });
    t.regex(stderr, /^hotblob: --?dir: expected a directory that this process can .* EACCES/);
    t.is(stderr, `hotblob: ${(await check(dir, ...args)).serve?.problems[0]}\n`);
  }
});

test('an upstream that does not respond is a warning, and the text says whether serve would start', async (t) => {
  const dir = join(await temporaryDirectory(t), 'new');
  const { code, stdout } = await doctor(['--dir', dir, '--port', '0', '--upstream', 'http://127.0.0.1:1']);
  t.is(code, 0);
  t.regex(stdout, /^serve +would start$/m);
  t.regex(stdout, /^warning +--upstream: http:\/\/127\.0\.0\.1:1: .*ECONNREFUSED.*; the server starts/m);
});
