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
import { isCreatedByStore } from '../../stores/directory/marker.js';
import { isReserved } from '../../stores/directory/paths.js';
import { detectKind, hasLmdb, type StoreKind } from '../serve/open-store.js';

/**
 * Reliability of mincore in a directory.
 * - `truthful`: for a test file, mincore distinguished resident from other pages.
 * - `lying`: for a test file, it did not.
 * - `untrusted`: a file belongs to another user, so the kernel may report all its pages as resident.
 * - `assumed`: no test file could be written.
 * - `unknown`: files cannot be mapped, so mincore is not used.
 */
export type MincoreStatus = 'truthful' | 'lying' | 'untrusted' | 'assumed' | 'unknown';

/** Findings about a directory: whether and how `hotblob serve` would serve it. */
export interface DirectoryDiagnosis {
  /** Path as given on the command line. */
  readonly directory: string;
  /** Reason why the directory cannot be served; `null` if it can. */
  readonly problem: string | null;
  /** Kind of store that `hotblob serve` would choose; `null` if the directory cannot be read. */
  readonly store: StoreKind | null;
  /** Whether the files are known to be immutable. Only immutable files are mapped. */
  readonly immutable: boolean;
  /** Type of the file system, such as `ext4`; `null` if the platform does not report it. */
  readonly fileSystem: string | null;
  /** Whether the file system supports RWF_NOWAIT; `null` if there was no file to test it with. */
  readonly copiesResident: boolean | null;
  readonly residency: MincoreStatus;
  /** Example of a file because of which `residency` is `untrusted`; otherwise `null`. */
  readonly untrustedFile: string | null;
}

/** Maximum number of directory entries that are searched for a sample file. */
const MAX_ENTRIES = 1000;

/** Diagnoses a directory. Leaves no changes behind, and never rejects. */
export async function diagnoseDirectory(directory: string, bindings: Bindings): Promise<DirectoryDiagnosis> {
  const unserved = {
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
    sample = await findSampleFile(root);
    await stat(join(root, '.'));
  } catch (error) {
    return { ...unserved, problem: describeProblem(error) };
  }
  const store = await detectKind(root, undefined);
  const fileSystem = fileSystemOf(root) ?? null;
  if (store === 'segments' && !hasLmdb()) {
    return { ...unserved, store, fileSystem, problem: 'it is a segment store, and lmdb cannot be loaded' };
  }
  const immutable = store === 'segments' || (await isCreatedByStore(root));
  const capabilities = probe(root, sample, bindings);
  return { ...unserved, problem: null, store, immutable, fileSystem, ...capabilities };
}

type Capabilities = Pick<DirectoryDiagnosis, 'copiesResident' | 'residency' | 'untrustedFile'>;

/**
 * Probes a temporary file. If the directory contains a file, that file is probed too, because it may have another
 * owner.
 */
function probe(root: string, sample: string | undefined, bindings: Bindings): Capabilities {
  const existing = sample === undefined ? undefined : probeExistingFile(sample, bindings);
  const temporary = withProbeFile(root, bindings.pageSize, (fd, length) => ({
    copiesResident: supportsNowait(fd, bindings),
    residency: probeMincore(fd, length, bindings),
    untrustedFile: null,
  }));
  const best = temporary ?? existing ?? { copiesResident: null, residency: 'assumed', untrustedFile: null };
  if (bindings.mapper === undefined) return { ...best, residency: 'unknown', untrustedFile: null };
  return existing?.residency === 'untrusted'
    ? { ...best, residency: 'untrusted', untrustedFile: existing.untrustedFile }
    : best;
}

function probeExistingFile(path: string, bindings: Bindings): Capabilities | undefined {
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
      copiesResident: stats.size === 0n ? null : supportsNowait(fd, bindings),
      residency: isTrusted ? 'assumed' : 'untrusted',
      untrustedFile: isTrusted ? null : path,
    };
  } finally {
    closeSync(fd);
  }
}

// copyResident() returns 0 if the first byte is not resident, and -1 if the file system does not support RWF_NOWAIT.
function supportsNowait(fd: number, { libc }: Bindings): boolean {
  return libc !== undefined && libc.copyResident(fd, { memory: Buffer.allocUnsafeSlow(1) }, 1, 0) >= 0;
}

/** Tests mincore with a file whose first page has just been written and whose last page is a hole that was never read. */
function probeMincore(fd: number, length: number, bindings: Bindings): MincoreStatus {
  const mapping = bindings.map(fd, 0, length);
  if (typeof mapping === 'string') return 'unknown';
  const { pageSize } = bindings;
  const isTruthful = mapping.isResident(0, pageSize) && !mapping.isResident(length - pageSize, pageSize);
  bindings.unmap(mapping);
  return isTruthful ? 'truthful' : 'lying';
}

/**
 * Calls `use` with an unlinked file of 64 pages, of which only the first has been written. Returns `undefined` if the file
 * cannot be created.
 */
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
    return undefined; // for example ENOSPC
  } finally {
    closeSync(fd);
  }
}

/**
 * Returns the path of a regular file in or below the directory, or `undefined` if the first 1,000 entries contain none.
 */
async function findSampleFile(directory: string, seen = { entries: 0 }): Promise<string | undefined> {
  const subdirectories: string[] = [];
  for await (const entry of await opendir(directory)) {
    if (++seen.entries > MAX_ENTRIES) return undefined;
    if (entry.isFile()) return join(directory, entry.name);
    if (entry.isDirectory() && !isReserved(entry.name)) subdirectories.push(entry.name);
  }
  for (const name of subdirectories) {
    // A subdirectory that cannot be read is skipped, because the directory can be served nevertheless.
    const file = await findSampleFile(join(directory, name), seen).catch(() => undefined);
    if (file !== undefined) return file;
  }
  return undefined;
}

function describeProblem(error: unknown): string {
  switch (errnoCode(error)) {
    case 'ENOENT':
      return 'it does not exist';
    case 'ENOTDIR':
      return 'it is not a directory';
    case 'EACCES':
      return 'this user has no permission to read it';
    default:
      return error instanceof Error ? error.message : String(error);
  }
}

/**
 * Returns the type of the file system that contains `root`. Of all mount points that contain `root`, the longest path
 * counts. If a mount point has several mounts, the last one is visible.
 */
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
    const containsRoot = path !== '' && `${root}/`.startsWith(path.endsWith('/') ? path : `${path}/`);
    if (containsRoot && path.length >= best.path.length) best = { path, type: after.split(' ')[0] };
  }
  return best.type;
}
