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

const { fault } = faultTable(test, 'Files of others, and other file systems', ['files', 'on']);

const ROOT = 0;
const NOBODY = 65534;
/** Some wait for a disk has its reason elsewhere, such as code that is not in memory. */
const MAX_FAULTS = 10;
const COLD_FILES = 40;

interface Place {
  readonly name: string;
  /** What a shell runs to make `served` of `files`, both below the working directory, which is an ext4. */
  readonly script: string;
  readonly needs?: Requirement;
  /** Whether it keeps everything in memory: then what is not there is what was never written. */
  readonly holes?: boolean;
}

/** Where a script leaves the id of a process that has to be ended. */
const DAEMON = 'daemon.pid';
const OVERLAY = 'mount -t overlay -o lowerdir=files,upperdir=top/upper,workdir=top/work overlay served';
const PLACES: readonly Place[] = [
  { name: 'ext4', script: 'mount --bind files served' },
  { name: 'ext4, mounted read-only', script: 'mount --bind files served && mount -o remount,ro .' },
  { name: 'tmpfs', script: 'mount -t tmpfs tmpfs served && cp -a files/. served', holes: true },
  { name: 'overlayfs', script: OVERLAY },
  { name: 'overlayfs above ext4, mounted read-only', script: `mount -o remount,ro . && ${OVERLAY}` },
  {
    name: 'FUSE (bindfs)',
    // Without what would keep the test's own streams open.
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
  /** Whom the server becomes. */
  readonly userId?: number;
  readonly launcher?: string;
}

const OWN: Owner = { name: 'its own', owner: NOBODY, mode: 0o644, userId: NOBODY };
const OTHERS: Owner = { name: "another user's", owner: ROOT, mode: 0o644, userId: NOBODY };
const WRITABLE: Owner = { name: "another user's, which everybody may write", owner: ROOT, mode: 0o666, userId: NOBODY };
const BARE_ROOT: Owner = {
  name: "another user's, for root without its powers",
  owner: NOBODY,
  mode: 0o644,
  launcher: 'setpriv --inh-caps=-all --bounding-set=-all',
};

for (const place of PLACES) {
  const owners = place.name === 'ext4' ? [OWN, OTHERS, WRITABLE, BARE_ROOT] : [OWN, OTHERS, WRITABLE];
  for (const owner of owners) {
    const requirements = place.needs === undefined ? [] : [place.needs];
    fault([owner.name, place.name], (t) => serve(t, place, owner), 'root', ...requirements);
  }
}

async function serve(
  t: ExecutionContext,
  place: Place,
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
    if (!place.holes) write(name, size);
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
  // In a mount namespace of its own: what is mounted goes with the server, however that ends.
  const script = [
    `cd ${directory} && mkdir disk && truncate -s 64M image && mkfs.ext4 -q -b 4096 -E root_owner=0:0 image`,
    'mount -o loop image disk && mv files disk && sync -f disk && cd disk && mkdir -m 755 served top && mount -t tmpfs tmpfs top && mkdir -m 755 top/upper top/work',
    place.script,
  ].join(' && ');
  const served = join(directory, 'disk/served');
  const options = { kind: 'http', directory: served, ...(userId !== undefined && { userId }) } as const;
  // It keeps what is mounted, and would outlive the server.
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
    return wordsFor(before, await child.stats());
  };
  // The first time for code to be there, and for file systems that let go of what they have not been asked for.
  await watch(['large', 'small']);
  const words = [`large: ${await watch(['large'])}`, `small: ${await watch(['small'])}`];
  // As the server sees it: the test is not where it is mounted.
  if (!place.holes) for (const name of cold) evict(join(`/proc/${child.process.pid}/root`, served, name));
  const faultsBefore = majorFaults(child.process.pid);
  words.push(`cold: ${await watch(cold)}`);
  const faults = majorFaults(child.process.pid) - faultsBefore;
  t.log(`${faults} page faults`, JSON.stringify((await child.stats()).sent));
  return [
    ...words,
    faults < MAX_FAULTS ? 'the event loop waits for no disk' : 'THE EVENT LOOP WAITS FOR THE DISK',
  ].join('; ');
}

function endDaemon(path: string): void {
  if (existsSync(path)) process.kill(Number(readFileSync(path, 'latin1')), 'SIGKILL');
}

/** Where nearly all has come from, and why not from a mapping. */
function wordsFor(before: HandlerStats, after: HandlerStats): string {
  const sources = (['mapped', 'copied', 'read'] as const).map((name) => {
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
