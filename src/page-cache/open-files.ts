import { type BigIntStats, close, fstat, open, readlinkSync, realpath, stat } from 'node:fs';
import { promisify } from 'node:util';
import type { FileArtifact } from '../contract/artifact.js';
import { errnoCode, HotblobError } from '../contract/errors.js';
import { OPEN_FLAGS } from '../util/open-flags.js';
import { prefixOf } from '../util/prefix-of.js';
import type { Bindings } from './bindings.js';
import { OpenFile } from './open-file.js';

const openAsync = promisify(open);
const fstatAsync = promisify(fstat);
const statAsync = promisify(stat);
const realpathAsync = promisify(realpath);

/** Minimum interval between two checks whether a path still leads to the open file. */
const CHECK_INTERVAL_MS = 1000;
/** Time after which an idle descriptor is closed. Until then, the disk space of a deleted file is not free. */
const IDLE_MS = 30_000;
/**
 * Error codes of open(2) for a path that does not lead to a regular file. Node rejects a NUL character in a path with
 * ERR_INVALID_ARG_VALUE.
 */
const MISSING = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG', 'ENXIO', 'EISDIR', 'ERR_INVALID_ARG_VALUE']);

/**
 * Cache of open files. Requests for the same path share one descriptor, even while it is being opened. The number of
 * descriptors is bounded, and a descriptor in use is not closed.
 */
export class OpenFiles {
  readonly #bindings: Bindings;
  readonly #maxOpenFiles: number;
  readonly #files = new Map<string, OpenFile>();
  readonly #opening = new Map<string, Promise<OpenFile | undefined>>();
  /** Calls of {@link acquire} that wait until a descriptor is closed. */
  readonly #waiting: (() => void)[] = [];
  #descriptors = 0;
  /** Time of the last call of {@link expireAll}, by `performance.now()`. */
  #expiredAt = Number.NEGATIVE_INFINITY;
  #sweeper: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(bindings: Bindings, maxOpenFiles: number) {
    this.#bindings = bindings;
    this.#maxOpenFiles = maxOpenFiles;
  }

  /** Number of descriptors, including those that are being opened or closed. */
  get size(): number {
    return this.#descriptors;
  }

  /**
   * Returns the open file of an artifact. The caller must release the file. Returns undefined if the path is not a
   * regular file or is outside the artifact's root. Returns synchronously if the file is open and its path was checked
   * less than a second ago.
   *
   * @param now current time, by `performance.now()`
   * @throws HotblobError `ERR_HOTBLOB_OVERLOADED` if all descriptors are in use
   * @throws the error of the system call if the file cannot be opened
   */
  acquire(artifact: FileArtifact, now = performance.now()): OpenFile | undefined | Promise<OpenFile | undefined> {
    const file = this.#files.get(artifact.path);
    if (file === undefined || file.root !== artifact.root) return this.#acquireSlowly(artifact);
    if (now - file.checkedAt >= CHECK_INTERVAL_MS || this.#isExpired(file) || isBeyond(artifact, file)) {
      return this.#acquireSlowly(artifact);
    }
    // A mutable file is checked for each response, so that the next response after a change has the new content.
    if (artifact.immutable !== true && file.hasChanged) return this.#acquireSlowly(artifact);
    file.usedAt = now;
    file.retain();
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

  /**
   * Closes idle files now, and files in use when their last reference is released. Files that are opened later are not
   * kept open.
   */
  close(): void {
    this.#closed = true;
    clearInterval(this.#sweeper);
    for (const file of this.#files.values()) this.#drop(file);
  }

  async #acquireSlowly(artifact: FileArtifact): Promise<OpenFile | undefined> {
    const { path, root } = artifact;
    const known = this.#files.get(path);
    if (known !== undefined) {
      let isSame = await this.#checkOnce(known, artifact);
      // A check that was already in flight may have started before the file grew or was replaced.
      if (isSame && (isBeyond(artifact, known) || this.#isExpired(known))) {
        isSame = await this.#checkOnce(known, artifact);
      }
      if (!isSame || known.root !== root) this.#drop(known);
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
    file?.retain();
    return file;
  }

  #checkOnce(file: OpenFile, artifact: FileArtifact): Promise<boolean> {
    file.checking ??= this.#check(file, artifact.immutable === true);
    return file.checking;
  }

  async #check(file: OpenFile, immutable: boolean): Promise<boolean> {
    file.retain();
    const startedAt = performance.now();
    try {
      const stats = await statAsync(file.path, { bigint: true });
      if (!file.isSame(stats, immutable)) return false;
      file.update(stats, startedAt);
      return true;
    } catch {
      return false; // opening the file again reports the error
    } finally {
      file.checking = undefined;
      this.#releaseSoon(file);
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
    file.retain();
    if (this.#closed) file.retire();
    else this.#files.set(file.path, file);
    // The timer is unreferenced, so it does not keep the process alive. It is cleared when no file is open.
    this.#sweeper ??= setInterval(() => this.#sweep(), IDLE_MS / 2).unref();
    this.#releaseSoon(file);
    return file;
  }

  // Callers that wait for the file retain it in microtasks. The reference is released later, so that the file is not
  // closed before that.
  #releaseSoon(file: OpenFile): void {
    setImmediate(() => file.release());
  }

  async #openDescriptor(path: string): Promise<number | undefined> {
    await this.#reserve(this.#maxOpenFiles);
    for (;;) {
      try {
        return await openAsync(path, OPEN_FLAGS);
      } catch (error) {
        this.#descriptors--;
        if (isMissing(error)) return undefined;
        const code = errnoCode(error);
        if (code !== 'EMFILE' && code !== 'ENFILE') throw error;
        // The process or the system has no descriptor left: close one before the next attempt.
        await this.#reserve(this.#descriptors);
      }
    }
  }

  /** Counts one more descriptor. If `max` descriptors are open, first closes the least recently used idle files. */
  async #reserve(max: number): Promise<void> {
    while (this.#descriptors >= max) {
      const idle = [...this.#files.values()].filter((file) => file.isIdle).sort((a, b) => a.usedAt - b.usedAt);
      if (idle.length === 0) {
        const message = `all ${this.#descriptors} descriptors for files are in use (maxOpenFiles: ${this.#maxOpenFiles})`;
        throw new HotblobError('ERR_HOTBLOB_OVERLOADED', message);
      }
      const closed = new Promise<void>((resolve) => this.#waiting.push(resolve));
      // Closes several files at a time, so that many files are not sorted for each descriptor.
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

  /** Removes a file from the cache. Its descriptor is closed when the last reference is released. */
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

/** Returns whether an artifact ends beyond the known size of its file. The file may have grown. */
function isBeyond({ offset = 0, length }: FileArtifact, file: OpenFile): boolean {
  return length !== undefined && offset + length > file.size;
}

function isMissing(error: unknown): boolean {
  return MISSING.has(errnoCode(error) ?? '');
}

/** Whether the opened file is below `root`, with symbolic links in both paths resolved. */
async function isBelow(root: string, path: string, fd: number, opened: BigIntStats): Promise<boolean> {
  if (process.platform === 'linux') {
    let resolved: string | undefined;
    try {
      // The kernel returns the path of this descriptor without a disk access, and later changes of a symbolic link have
      // no effect.
      resolved = readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      // /proc is not mounted in this container
    }
    if (resolved !== undefined) return isInside(root, resolved);
  }
  const resolved = await realpathAsync(path);
  if (!(await isInside(root, resolved))) return false;
  const now = await statAsync(resolved, { bigint: true });
  return now.ino === opened.ino && now.dev === opened.dev;
}

/** Whether `resolved`, a path without symbolic links, is below `root`. */
async function isInside(root: string, resolved: string): Promise<boolean> {
  // Only a root with a symbolic link needs I/O. It is resolved each time, because the link may have changed.
  return resolved.startsWith(prefixOf(root)) || resolved.startsWith(prefixOf(await realpathAsync(root)));
}
