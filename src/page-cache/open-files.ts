import { type BigIntStats, close, fstat, open, readlinkSync, realpath, stat } from 'node:fs';
import { sep } from 'node:path';
import { promisify } from 'node:util';
import type { FileArtifact } from '../contract/artifact.js';
import { errnoCode, HotblobError } from '../contract/errors.js';
import { OPEN_FLAGS } from '../util/open-flags.js';
import type { Bindings } from './bindings.js';
import { OpenFile } from './open-file.js';

const openAsync = promisify(open);
const fstatAsync = promisify(fstat);
const statAsync = promisify(stat);
const realpathAsync = promisify(realpath);

/** A path is compared with what is open for it at most this often. */
const CHECK_INTERVAL_MS = 1000;
/** A descriptor that nobody uses is closed after this time: until then the space of a deleted file is not free. */
const IDLE_MS = 30_000;
const MISSING = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG', 'ENXIO', 'EISDIR']);

/**
 * The descriptors: opened once, however many ask at the same time, shared, bounded, and closed only when nobody uses
 * them. What {@link acquire} returns is given back by `leave()`.
 */
export class OpenFiles {
  readonly #bindings: Bindings;
  readonly #max: number;
  readonly #files = new Map<string, OpenFile>();
  readonly #opening = new Map<string, Promise<OpenFile | undefined>>();
  /** Those who wait for a descriptor to be closed. */
  readonly #waiting: (() => void)[] = [];
  #descriptors = 0;
  /** Time of the last {@link expireAll}, by `performance.now()`. */
  #expiredAt = Number.NEGATIVE_INFINITY;
  #sweeper: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(bindings: Bindings, maxOpenFiles: number) {
    this.#bindings = bindings;
    this.#max = maxOpenFiles;
  }

  /** Descriptors open, or about to be. */
  get size(): number {
    return this.#descriptors;
  }

  /**
   * The open file of an artifact, entered once for the caller; undefined where there is no regular file, or where it lies
   * outside the artifact's root. Synchronous for a file that is open and was compared with its path a moment ago.
   *
   * @param now by `performance.now()`
   * @throws HotblobError `ERR_HOTBLOB_OVERLOADED` when every descriptor is in use; else the error of the system
   */
  acquire(artifact: FileArtifact, now = performance.now()): OpenFile | undefined | Promise<OpenFile | undefined> {
    const file = this.#files.get(artifact.path);
    if (file === undefined || file.root !== artifact.root) return this.#acquireSlowly(artifact);
    if (now - file.checkedAt >= CHECK_INTERVAL_MS || this.#isExpired(file) || isBeyond(artifact, file)) {
      return this.#acquireSlowly(artifact);
    }
    // A program that rewrites a file expects the next response to have the new content, as with servers that stat each time.
    if (artifact.immutable !== true && file.hasChanged) return this.#acquireSlowly(artifact);
    file.usedAt = now;
    file.enter();
    return file;
  }

  /** Makes the next {@link acquire} of `path` revalidate the open file. */
  expire(path: string): void {
    const file = this.#files.get(path);
    if (file !== undefined) file.expiredAt = performance.now();
  }

  /** Makes the next {@link acquire} of every path revalidate its open file. */
  expireAll(): void {
    this.#expiredAt = performance.now();
  }

  #isExpired(file: OpenFile): boolean {
    return file.checkedAt <= file.expiredAt || file.checkedAt <= this.#expiredAt;
  }

  /** Closes what is idle now, and the rest with its last user. Nothing is kept open from then on. */
  close(): void {
    this.#closed = true;
    clearInterval(this.#sweeper);
    for (const file of this.#files.values()) this.#drop(file);
  }

  async #acquireSlowly(artifact: FileArtifact): Promise<OpenFile | undefined> {
    const { path, root } = artifact;
    const known = this.#files.get(path);
    if (known !== undefined) {
      let same = await this.#checkOnce(known, artifact);
      // A check that was already in flight may have begun before the file grew or was replaced.
      if (same && (isBeyond(artifact, known) || this.#isExpired(known))) same = await this.#checkOnce(known, artifact);
      if (!same || known.root !== root) this.#drop(known);
    }
    let file = this.#files.get(path);
    if (file === undefined || file.root !== root) {
      const key = `${root ?? ''}\0${path}`;
      let opening = this.#opening.get(key);
      if (opening === undefined) {
        opening = this.#open(artifact).finally(() => this.#opening.delete(key));
        this.#opening.set(key, opening);
      }
      file = await opening;
    }
    if (file !== undefined) file.usedAt = performance.now();
    file?.enter();
    return file;
  }

  #checkOnce(file: OpenFile, artifact: FileArtifact): Promise<boolean> {
    file.checking ??= this.#check(file, artifact.immutable === true);
    return file.checking;
  }

  async #check(file: OpenFile, immutable: boolean): Promise<boolean> {
    file.enter();
    const startedAt = performance.now();
    try {
      const stats = await statAsync(file.path, { bigint: true });
      if (!file.isSame(stats, immutable)) return false;
      file.update(stats, startedAt);
      return true;
    } catch {
      return false; // opening it anew tells what is wrong
    } finally {
      file.checking = undefined;
      this.#leaveSoon(file);
    }
  }

  async #open(artifact: FileArtifact): Promise<OpenFile | undefined> {
    const startedAt = performance.now();
    const fd = await this.#openDescriptor(artifact.path);
    if (fd === undefined) return undefined;
    try {
      const stats = await fstatAsync(fd, { bigint: true });
      if (stats.isFile() && (artifact.root === undefined || (await isBelow(artifact.root, artifact.path, fd, stats)))) {
        return this.#keep(new OpenFile(artifact, fd, stats, startedAt, this.#bindings, () => this.#onClosed()));
      }
    } catch (error) {
      this.#closeDescriptor(fd);
      if (isMissing(error)) return undefined;
      throw error;
    }
    this.#closeDescriptor(fd);
    return undefined;
  }

  #keep(file: OpenFile): OpenFile {
    const other = this.#files.get(file.path);
    if (other !== undefined) this.#drop(other);
    file.enter();
    if (this.#closed) file.retire();
    else this.#files.set(file.path, file);
    // Unreferenced, and only there while something is open: it keeps no process alive and needs no closing.
    this.#sweeper ??= setInterval(() => this.#sweep(), IDLE_MS / 2).unref();
    this.#leaveSoon(file);
    return file;
  }

  // Those who wait for a file go on in microtasks; until then it must not count as idle, or it might be closed.
  #leaveSoon(file: OpenFile): void {
    setImmediate(() => file.leave());
  }

  async #openDescriptor(path: string): Promise<number | undefined> {
    await this.#reserve(this.#max);
    for (;;) {
      try {
        return await openAsync(path, OPEN_FLAGS);
      } catch (error) {
        this.#descriptors--;
        if (isMissing(error)) return undefined;
        const code = errnoCode(error);
        if (code !== 'EMFILE' && code !== 'ENFILE') throw error;
        // The process has fewer to spare than we were given: one of ours makes room.
        await this.#reserve(this.#descriptors);
      }
    }
  }

  /** Counts one more descriptor once fewer than `max` are open; until then closes those that were used longest ago. */
  async #reserve(max: number): Promise<void> {
    while (this.#descriptors >= max) {
      const idle = [...this.#files.values()].filter((file) => file.isIdle).sort((a, b) => a.usedAt - b.usedAt);
      if (idle.length === 0) {
        throw new HotblobError('ERR_HOTBLOB_OVERLOADED', `all ${this.#descriptors} descriptors are in use`);
      }
      const closed = new Promise<void>((resolve) => this.#waiting.push(resolve));
      // Several at a time, so that a host with many files does not sort them for each one that it opens.
      for (const file of idle.slice(0, Math.ceil(idle.length / 16))) this.#drop(file);
      await closed;
    }
    this.#descriptors++;
  }

  #closeDescriptor(fd: number): void {
    close(fd, () => this.#onClosed());
  }

  #onClosed(): void {
    this.#descriptors--;
    this.#waiting.shift()?.();
  }

  /** Forgets a file; its descriptor is closed with its last user. */
  #drop(file: OpenFile): void {
    if (this.#files.get(file.path) === file) this.#files.delete(file.path);
    file.retire();
  }

  #sweep(): void {
    const before = performance.now() - IDLE_MS;
    for (const file of this.#files.values()) {
      if (file.isIdle && file.usedAt < before) this.#drop(file);
    }
    if (this.#files.size > 0) return;
    clearInterval(this.#sweeper);
    this.#sweeper = undefined;
  }
}

/** Whether a region ends behind what is known of its file, which may have been appended to. */
function isBeyond({ offset = 0, length }: FileArtifact, file: OpenFile): boolean {
  return length !== undefined && offset + length > file.size;
}

function isMissing(error: unknown): boolean {
  return MISSING.has(errnoCode(error) ?? '');
}

/** Whether what was opened lies below `root`, whatever symlinks the path went through. */
async function isBelow(root: string, path: string, fd: number, opened: BigIntStats): Promise<boolean> {
  const prefix = root.endsWith(sep) ? root : root + sep;
  if (process.platform === 'linux') {
    try {
      // The kernel's own name for what this descriptor is: no disk, and no race with a symlink that changes.
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(prefix);
    } catch {
      // no /proc in this container
    }
  }
  const resolved = await realpathAsync(path);
  if (!resolved.startsWith(prefix)) return false;
  const now = await statAsync(resolved, { bigint: true });
  return now.ino === opened.ino && now.dev === opened.dev;
}
