import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { HandlerStats } from '../../src/handler/stats.js';
import { ChildServer } from '../helpers/child.js';
import { request } from '../helpers/client.js';
import { assertBytes } from '../helpers/file-site.js';
import { KIB, MIB, temporaryDirectory, writePattern } from '../helpers/files.js';
import { evict, majorFaults } from '../helpers/page-cache.js';
import type { Requirement } from '../helpers/peers.js';
import { faultTable } from './table.js';

const { fault } = faultTable(test, 'File owners and file systems', ['file owner', 'file system']);

const ROOT = 0;
const NOBODY = 65534;
/** Maximum number of major page faults. A few have other causes, such as code that is not in memory. */
const MAX_FAULTS = 10;
const COLD_FILES = 40;

interface FileSystem {
  readonly name: string;
  /** Shell script that mounts `served` from `files`. Both are below the working directory, which is on ext4. */
  readonly script: string;
  readonly needs?: Requirement;
  /** `true` for a file system in memory. There, only holes of files are not in the page cache. */
  readonly holes?: boolean;
}

/** File in which a script writes the id of a process that the test has to end. */
const DAEMON = 'daemon.pid';
const OVERLAY = 'mount -t overlay -o lowerdir=files,upperdir=top/upper,workdir=top/work overlay served';
const FILE_SYSTEMS: readonly FileSystem[] = [
  { name: 'ext4', script: 'mount --bind files served' },
  { name: 'ext4, mounted read-only', script: 'mount --bind files served && mount -o remount,ro .' },
  { name: 'tmpfs', script: 'mount -t tmpfs tmpfs served && cp -a files/. served', holes: true },
  { name: 'overlayfs', script: OVERLAY },
  { name: 'overlayfs on ext4, mounted read-only', script: `mount -o remount,ro . && ${OVERLAY}` },
  {
    name: 'FUSE (bindfs)',
    // Does not inherit the test's streams, which it would keep open.
    script: [
      '{ bindfs -f files served </dev/null >/dev/null 2>&1 3>&- & }',
      `echo $! >../${DAEMON}`,
      'for i in {1..500}; do mountpoint -q served && break; sleep 0.02; done',
      'mountpoint -q served',
    ].join(' && '),
    needs: 'bindfs',
  },
];

interface Owner {
  readonly name: string;
  readonly owner: number;
  readonly mode: number;
  /** User of the server. */
  readonly userId?: number;
  readonly launcher?: string;
}

const OWN: Owner = { name: 'user of the server', owner: NOBODY, mode: 0o644, userId: NOBODY };
const OTHERS: Owner = { name: 'another user', owner: ROOT, mode: 0o644, userId: NOBODY };
const WRITABLE: Owner = { name: 'another user, world-writable', owner: ROOT, mode: 0o666, userId: NOBODY };
const BARE_ROOT: Owner = {
  name: 'another user, server is root without capabilities',
  owner: NOBODY,
  mode: 0o644,
  launcher: 'setpriv --inh-caps=-all --bounding-set=-all',
};

for (const fileSystem of FILE_SYSTEMS) {
  const owners = fileSystem.name === 'ext4' ? [OWN, OTHERS, WRITABLE, BARE_ROOT] : [OWN, OTHERS, WRITABLE];
  for (const owner of owners) {
    const requirements = fileSystem.needs === undefined ? [] : [fileSystem.needs];
    fault([owner.name, fileSystem.name], (t) => serve(t, fileSystem, owner), 'root', ...requirements);
  }
}

async function serve(
  t: ExecutionContext,
  fileSystem: FileSystem,
  { owner, mode, userId, launcher = '' }: Owner,
): Promise<string> {
  const directory = await temporaryDirectory(t);
  chmodSync(directory, 0o755);
  const files = join(directory, 'files');
  mkdirSync(files);
  const bodies = new Map<string, Buffer>();
  const write = (name: string, size: number): void =>
    void bodies.set(name, writePattern(files, name, size, bodies.size));
  const cold = Array.from({ length: COLD_FILES }, (_, index) => [`large-${index}`, `small-${index}`]).flat();
  write('large', 3 * MIB + 5);
  write('small', 3000);
  for (const name of cold) {
    const size = name.startsWith('large') ? 64 * KIB : 3000;
    if (!fileSystem.holes) write(name, size);
    else {
      writeFileSync(join(files, name), '');
      truncateSync(join(files, name), size);
      bodies.set(name, Buffer.alloc(size));
    }
  }
  for (const name of readdirSync(files)) {
    chmodSync(join(files, name), mode);
    chownSync(join(files, name), owner, owner);
  }
  // In its own mount namespace, so that the mounts end with the server.
  const script = [
    `cd ${directory} && mkdir disk && truncate -s 64M image && mkfs.ext4 -q -b 4096 -E root_owner=0:0 image`,
    'mount -o loop image disk && mv files disk && sync -f disk && cd disk && mkdir -m 755 served top && mount -t tmpfs tmpfs top && mkdir -m 755 top/upper top/work',
    fileSystem.script,
  ].join(' && ');
  const served = join(directory, 'disk/served');
  const options = { kind: 'http', directory: served, ...(userId !== undefined && { userId }) } as const;
  // The daemon keeps its mount and would outlive the server.
  t.teardown(() => endDaemon(join(directory, DAEMON)));
  const child = await ChildServer.start(
    t,
    options,
    `exec unshare -m bash -c 'pushd . >/dev/null && ${script} && popd >/dev/null && exec ${launcher} "$@"' bash`,
  );
  const get = async (name: string): Promise<void> => {
    assertBytes(t, (await request(child.server, { path: `/${name}` })).body, bodies.get(name) ?? Buffer.alloc(0), name);
  };
  const watch = async (names: readonly string[]): Promise<string> => {
    const before = await child.stats();
    for (const name of names) await get(name);
    return describeSources(before, await child.stats());
  };
  // Warms up the code, and the page cache of file systems that drop pages which were not read through them.
  await watch(['large', 'small']);
  const outcomes = [`large: ${await watch(['large'])}`, `small: ${await watch(['small'])}`];
  // By the path in the server's mount namespace.
  if (!fileSystem.holes) for (const name of cold) evict(join(`/proc/${child.process.pid}/root`, served, name));
  const faultsBefore = majorFaults(child.process.pid);
  outcomes.push(`cold: ${await watch(cold)}`);
  const faults = majorFaults(child.process.pid) - faultsBefore;
  t.log(`${faults} page faults`, JSON.stringify((await child.stats()).sent));
  return [
    ...outcomes,
    faults < MAX_FAULTS ? 'the event loop does not wait for the disk' : 'THE EVENT LOOP WAITS FOR THE DISK',
  ].join('; ');
}

function endDaemon(path: string): void {
  if (existsSync(path)) process.kill(Number(readFileSync(path, 'latin1')), 'SIGKILL');
}

/** Describes the sources of at least a tenth of the bytes, and the reasons against a mapping. */
function describeSources(before: HandlerStats, after: HandlerStats): string {
  const sources = (['bytes', 'mapped', 'copied', 'read'] as const).map((name) => {
    return { name, bytes: after.sent[name].bytes - before.sent[name].bytes };
  });
  const total = sources.reduce((sum, { bytes }) => sum + bytes, 0);
  const found = sources.filter(({ bytes }) => bytes > 0.1 * total).map(({ name }) => name);
  const isNew = ([reason, count]: [string, number]): boolean =>
    count > (before.unmapped[reason as keyof HandlerStats['unmapped']] ?? 0);
  const reasons = Object.entries(after.unmapped)
    .filter(isNew)
    .map(([reason]) => `\`${reason}\``);
  return found.join(' and ') + (reasons.length === 0 ? '' : ` (${reasons.sort().join(', ')})`);
}
