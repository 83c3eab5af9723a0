import { execFile } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { adviceFor } from '../../../src/cli/doctor/advice.js';
import type { Diagnosis } from '../../../src/cli/doctor/diagnosis.js';
import { diagnoseDirectory } from '../../../src/cli/doctor/directory.js';
import { type Bindings, loadBindings } from '../../../src/page-cache/bindings.js';
import { directoryStore } from '../../../src/stores/directory/store.js';
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
