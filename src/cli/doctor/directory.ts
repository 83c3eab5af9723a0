import { randomBytes } from 'node:crypto';
import {
  type BigIntStats,
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { opendir, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoCode } from '../../contract/errors.js';
import { unescapeOctal } from '../../memory/cgroup.js';
import type { Bindings } from '../../page-cache/bindings.js';
import { canTrustMincore } from '../../page-cache/residency.js';
import { isCreatedByStore } from '../../stores/directory/store.js';
import { hasLmdb, kindOf, type StoreKind } from '../serve/open-store.js';

/**
 * Whether mincore can be believed. `truthful`: it has told pages that are in memory from one that is not. `lying`: it has
 * not. `untrusted`: an artifact there is of another user: the kernel then may report every page as resident. `assumed`:
 * nothing can be written there to try it on. `unknown`: without a mapper nobody asks it.
 */
export type Residency = 'truthful' | 'lying' | 'untrusted' | 'assumed' | 'unknown';

/** What serving a directory comes to. */
export interface DirectoryDiagnosis {
  /** As it was asked for. */
  readonly directory: string;
  /** Why it cannot be served; null where it can. */
  readonly problem: string | null;
  /** As `hotblob serve` would choose it. */
  readonly store: StoreKind | null;
  /** Whether its files are known to be immutable, so that they may be mapped. */
  readonly immutable: boolean;
  /** Such as `ext4`; null where the system does not say. */
  readonly fileSystem: string | null;
  /** Whether bytes are copied from the page cache without waiting for a disk; null where there is nothing to try it on. */
  readonly copiesResident: boolean | null;
  readonly residency: Residency;
  /** A file that makes it `untrusted`. */
  readonly untrustedFile: string | null;
}

/** Entries that are looked at for an artifact to judge by. */
const MAX_ENTRIES = 1000;

/** Looks at a directory, and changes nothing that stays. Never rejects. */
export async function examineDirectory(directory: string, bindings: Bindings): Promise<DirectoryDiagnosis> {
  const nothing = {
    directory,
    store: null,
    immutable: false,
    fileSystem: null,
    copiesResident: null,
    residency: 'unknown',
    untrustedFile: null,
  } as const;
  let root: string;
  let sample: string | undefined;
  try {
    root = await realpath(directory);
    sample = await anyFile(root);
    await stat(join(root, '.'));
  } catch (error) {
    return { ...nothing, problem: problemOf(error) };
  }
  const store = await kindOf(root, undefined);
  const fileSystem = fileSystemOf(root) ?? null;
  if (store === 'segments' && !hasLmdb()) {
    return { ...nothing, store, fileSystem, problem: 'it holds segments, and lmdb does not load' };
  }
  const immutable = store === 'segments' || (await isCreatedByStore(root));
  const probed = probe(root, sample, bindings);
  return { ...nothing, problem: null, store, immutable, fileSystem, ...probed };
}

type Probed = Pick<DirectoryDiagnosis, 'copiesResident' | 'residency' | 'untrustedFile'>;

function probe(root: string, sample: string | undefined, bindings: Bindings): Probed {
  const owned = sample === undefined ? undefined : judge(sample, bindings);
  const tried = withProbeFile(root, bindings.pageSize, (fd, length) => ({
    copiesResident: copies(fd, bindings),
    residency: tellsResidency(fd, length, bindings),
    untrustedFile: null,
  }));
  const found = tried ?? owned ?? { copiesResident: null, residency: 'assumed', untrustedFile: null };
  if (bindings.mapper === undefined) return { ...found, residency: 'unknown', untrustedFile: null };
  return owned?.residency === 'untrusted'
    ? { ...found, residency: 'untrusted', untrustedFile: owned.untrustedFile }
    : found;
}

/** What an artifact that is there tells. */
function judge(path: string, bindings: Bindings): Probed | undefined {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch {
    return undefined;
  }
  try {
    const stats: BigIntStats = fstatSync(fd, { bigint: true });
    const isTrusted = canTrustMincore(stats);
    return {
      copiesResident: stats.size === 0n ? null : copies(fd, bindings),
      residency: isTrusted ? 'assumed' : 'untrusted',
      untrustedFile: isTrusted ? null : path,
    };
  } finally {
    closeSync(fd);
  }
}

// Whether the first byte is there makes no difference: a file system that cannot do it says so.
function copies(fd: number, { libc }: Bindings): boolean {
  return libc !== undefined && libc.copyResident(fd, { memory: Buffer.allocUnsafeSlow(1) }, 1, 0) >= 0;
}

/** The first page has just been written, the last one is a hole that nobody has read. */
function tellsResidency(fd: number, length: number, bindings: Bindings): Residency {
  const mapping = bindings.map(fd, 0, length);
  if (typeof mapping === 'string') return 'unknown';
  const { pageSize } = bindings;
  const isTrue = mapping.isResident(0, pageSize) && !mapping.isResident(length - pageSize, pageSize);
  return isTrue ? 'truthful' : 'lying';
}

/** Calls `use` with a file that has no name any more, of 64 pages with one written; undefined where none can be made. */
function withProbeFile<T>(root: string, pageSize: number, use: (fd: number, length: number) => T): T | undefined {
  const path = join(root, `.hotblob-doctor-${randomBytes(6).toString('hex')}`);
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
  } catch {
    return undefined;
  }
  try {
    unlinkSync(path);
    const length = 64 * pageSize;
    ftruncateSync(fd, length);
    writeSync(fd, Buffer.alloc(pageSize, 1), 0, pageSize, 0);
    return use(fd, length);
  } catch {
    return undefined; // a disk without room
  } finally {
    closeSync(fd);
  }
}

/** A regular file of the directory or of one below it; undefined where there is none among the first entries. */
async function anyFile(directory: string, seen = { entries: 0 }): Promise<string | undefined> {
  const below: string[] = [];
  for await (const entry of await opendir(directory)) {
    if (++seen.entries > MAX_ENTRIES) return undefined;
    if (entry.isFile()) return join(directory, entry.name);
    if (entry.isDirectory() && entry.name !== '.hotblob') below.push(entry.name);
  }
  for (const name of below) {
    // What is closed to us below says nothing about the directory.
    const found = await anyFile(join(directory, name), seen).catch(() => undefined);
    if (found !== undefined) return found;
  }
  return undefined;
}

function problemOf(error: unknown): string {
  switch (errnoCode(error)) {
    case 'ENOENT':
      return 'it does not exist';
    case 'ENOTDIR':
      return 'it is not a directory';
    case 'EACCES':
      return 'this user may not read it';
    default:
      return error instanceof Error ? error.message : String(error);
  }
}

/** The type of the mount with the longest path above `root`; of several the one mounted last. */
function fileSystemOf(root: string): string | undefined {
  let text: string;
  try {
    text = readFileSync('/proc/self/mountinfo', 'utf8');
  } catch {
    return undefined;
  }
  let best = { path: '', type: undefined as string | undefined };
  for (const line of text.split('\n')) {
    const [before = '', after = ''] = line.split(' - ');
    const path = unescapeOctal(before.split(' ')[4] ?? '');
    const isAbove = path !== '' && `${root}/`.startsWith(path.endsWith('/') ? path : `${path}/`);
    if (isAbove && path.length >= best.path.length) best = { path, type: after.split(' ')[0] };
  }
  return best.type;
}
