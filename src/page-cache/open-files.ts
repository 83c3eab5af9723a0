import { close, fstat, open, stat } from 'node:fs';
import { promisify } from 'node:util';
import type { FileArtifact } from '../contract/artifact.js';
import { errnoCode, HotblobError } from '../contract/errors.js';
import { currentLimit, type Limit } from '../util/limit.js';
import { pause } from '../util/loop-slices.js';
import { isMissing } from '../util/missing-file.js';
import { OPEN_FLAGS } from '../util/open-flags.js';
import { isBelow } from './below-root.js';
import type { Bindings } from './bindings.js';
import { oldestFiles } from './oldest-files.js';
import { OpenFile } from './open-file.js';
import { type FileHolder, holders } from './release-file.js';

const openAsync = promisify(open);
const fstatAsync = promisify(fstat);
const statAsync = promisify(stat);

/** Minimum interval between two checks whether a path still leads to the open file. */
const CHECK_INTERVAL_MS = 1000;
/** Interval at which idle files are checked for deletion: by another process, or by a store that does not report it. */
const SWEEP_INTERVAL_MS = 1000;
/** Time after which an idle descriptor is closed. */
const IDLE_MS = 30_000;

/** File that is being opened. */
interface Opening {
  readonly root: string | undefined;
  readonly result: Promise<OpenFile | undefined>;
}

/**
 * Cache of open files. Requests for the same path share one descriptor, even while it is being opened. The number of
 * descriptors is bounded, and a descriptor in use is not closed.
 */
export class OpenFiles implements FileHolder {
  readonly #bindings: Bindings;
  readonly #maxOpenFiles: Limit;
  readonly #files = new Map<string, OpenFile>();
  /** Files that are being opened, by path. A path that was released meanwhile is not among them. */
  readonly #opening = new Map<string, Opening>();
  /** Calls of {@link acquire} that wait until a descriptor is closed. */
  readonly #waiting: (() => void)[] = [];
  #descriptors = 0;
  #sweeper: NodeJS.Timeout | undefined;
  #sweep: Promise<void> | undefined;
  #closed = false;

  constructor(bindings: Bindings, maxOpenFiles: Limit) {
    this.#bindings = bindings;
    this.#maxOpenFiles = maxOpenFiles;
  }

  /** Limit on the number of descriptors. */
  get maxOpenFiles(): number {
    return currentLimit(this.#maxOpenFiles);
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
    if (now - file.checkedAt >= CHECK_INTERVAL_MS || isBeyond(artifact, file)) return this.#acquireSlowly(artifact);
    // A mutable file is checked for each response, so that the next response after a change has the new content.
    if (artifact.immutable !== true && file.hasChanged) return this.#acquireSlowly(artifact);
    file.usedAt = now;
    file.retain();
    return file;
  }

  releaseFile(path: string): Promise<void> | undefined {
    // The file that is being opened may be the previous one. Only requests that wait for it already get it.
    this.#opening.delete(path);
    const file = this.#files.get(path);
    return file && this.#drop(file);
  }

  async releaseDeletedFiles(): Promise<void> {
    // A sweep in flight may have checked a file before it was deleted.
    await this.#sweep;
    await this.#sweepOnce();
  }

  /**
   * Closes idle files now, and files in use when their last reference is released. Files that are opened later are not
   * kept open.
   */
  close(): void {
    this.#closed = true;
    this.#stopSweeping();
    for (const file of this.#files.values()) this.#drop(file);
  }

  async #acquireSlowly(artifact: FileArtifact): Promise<OpenFile | undefined> {
    const { path, root } = artifact;
    const known = this.#files.get(path);
    if (known !== undefined) {
      let isSame = await this.#checkOnce(known, artifact);
      // A check that was already in flight may have started before the file grew.
      if (isSame && isBeyond(artifact, known)) isSame = await this.#checkOnce(known, artifact);
      if (!isSame || known.root !== root) this.#drop(known);
    }
    let file = this.#files.get(path);
    if (file === undefined || file.root !== root) file = await this.#openOnce(artifact);
    if (file !== undefined) file.usedAt = performance.now();
    file?.retain();
    return file;
  }

  #openOnce(artifact: FileArtifact): Promise<OpenFile | undefined> {
    const { path, root } = artifact;
    const other = this.#opening.get(path);
    if (other !== undefined && other.root === root) return other.result;
    this.#startSweeping();
    const isCurrent = (): boolean => this.#opening.get(path) === opening;
    const result = this.#open(artifact, isCurrent).finally(() => {
      if (isCurrent()) this.#opening.delete(path);
    });
    const opening = { root, result };
    this.#opening.set(path, opening);
    return result;
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

  /** @param isCurrent whether the path was not released since the call */
  async #open(artifact: FileArtifact, isCurrent: () => boolean): Promise<OpenFile | undefined> {
    const startedAt = performance.now();
    const fd = await this.#openDescriptor(artifact.path);
    if (fd === undefined) return undefined;
    try {
      const stats = await fstatAsync(fd, { bigint: true });
      if (stats.isFile() && (artifact.root === undefined || (await isBelow(artifact.root, artifact.path, fd, stats)))) {
        const file = new OpenFile(artifact, fd, stats, startedAt, this.#bindings, () => this.#onClosed());
        this.#keep(file, isCurrent());
        return file;
      }
    } catch (error) {
      this.#closeDescriptor(fd);
      if (isMissing(error)) return undefined;
      throw error;
    }
    this.#closeDescriptor(fd);
    return undefined;
  }

  /** Keeps a new file for later requests, or only for those that wait for it if it is not current. */
  #keep(file: OpenFile, isCurrent: boolean): void {
    file.retain();
    this.#releaseSoon(file);
    if (this.#closed || !isCurrent) {
      file.retire();
      return;
    }
    const other = this.#files.get(file.path);
    if (other !== undefined) this.#drop(other);
    this.#files.set(file.path, file);
  }

  // Callers that wait for the file retain it in microtasks. The reference is released later, so that the file is not
  // closed before that.
  #releaseSoon(file: OpenFile): void {
    setImmediate(() => file.release());
  }

  async #openDescriptor(path: string): Promise<number | undefined> {
    await this.#reserve(this.maxOpenFiles);
    for (;;) {
      try {
        return await openAsync(path, OPEN_FLAGS);
      } catch (error) {
        this.#descriptors--;
        if (isMissing(error)) return undefined;
        const code = errnoCode(error);
        if (code !== 'EMFILE' && code !== 'ENFILE') throw error;
        // The process or the system has no descriptor left: close one before the next attempt.
        await this.#reserve(this.#descriptors, error);
      }
    }
  }

  /**
   * Counts one more descriptor. If `max` descriptors are open, first closes the least recently used idle files.
   *
   * @param cause error of open(2) that made the call necessary
   */
  async #reserve(max: number, cause?: unknown): Promise<void> {
    let examined = 0;
    while (this.#descriptors >= max) {
      const candidates = oldestFiles(this.#files);
      const idle = candidates.filter((file) => file.isIdle);
      if (idle.length > 0) {
        const closed = new Promise<void>((resolve) => this.#waiting.push(resolve));
        // Closes several files at a time, so that files are not sorted for each descriptor.
        for (const file of idle.slice(0, Math.ceil(idle.length / 16))) this.#drop(file);
        await closed;
        examined = 0;
        continue;
      }
      examined += candidates.length;
      if (examined >= this.#files.size) throw cause === undefined ? this.#overloaded() : outOfDescriptors(cause);
      await pause();
    }
    this.#descriptors++;
  }

  /**
   * Counts a descriptor that is not one of this cache, until {@link unreserve}. Closes an idle one if there are too many.
   *
   * @throws HotblobError `ERR_HOTBLOB_OVERLOADED` if all descriptors are in use
   */
  reserve(): Promise<void> {
    return this.#reserve(this.maxOpenFiles);
  }

  unreserve(): void {
    this.#onClosed();
  }

  #overloaded(): HotblobError {
    const message = `all ${this.#descriptors} descriptors for files are in use (maxOpenFiles: ${this.maxOpenFiles})`;
    return new HotblobError('ERR_HOTBLOB_OVERLOADED', message);
  }

  #closeDescriptor(fd: number): void {
    close(fd, () => this.#onClosed());
  }

  #onClosed(): void {
    this.#descriptors--;
    this.#waiting.shift()?.();
  }

  /** Removes a file from the cache. It is closed with its last reference. See {@link OpenFile.retire}. */
  #drop(file: OpenFile): Promise<void> | undefined {
    if (this.#files.get(file.path) === file) this.#files.delete(file.path);
    return file.retire();
  }

  #sweepOnce(): Promise<void> {
    this.#sweep ??= this.#dropUnneeded().finally(() => {
      this.#sweep = undefined;
    });
    return this.#sweep;
  }

  /** Drops the files that have been idle for long, and idle files that have been deleted. */
  async #dropUnneeded(): Promise<void> {
    const before = performance.now() - IDLE_MS;
    const closing: (Promise<void> | undefined)[] = [];
    // A copy, because other calls move files to the end of the map during a pause.
    for (const file of [...this.#files.values()]) {
      if (file.isIdle && !file.isRetired && (file.usedAt < before || (await file.isDeleted())))
        closing.push(this.#drop(file));
      await pause();
    }
    if (this.#files.size + this.#opening.size === 0) this.#stopSweeping();
    await Promise.all(closing);
  }

  // Only while a file is open: the timer, which is unreferenced, and the set of holders then keep nothing alive.
  #startSweeping(): void {
    if (this.#sweeper !== undefined || this.#closed) return;
    this.#sweeper = setInterval(() => void this.#sweepOnce(), SWEEP_INTERVAL_MS).unref();
    holders.add(this);
  }

  #stopSweeping(): void {
    clearInterval(this.#sweeper);
    this.#sweeper = undefined;
    holders.delete(this);
  }
}

/** Returns whether an artifact ends beyond the known size of its file. The file may have grown. */
function isBeyond({ offset = 0, length }: FileArtifact, file: OpenFile): boolean {
  return length !== undefined && offset + length > file.size;
}

/** @param cause EMFILE or ENFILE */
function outOfDescriptors(cause: unknown): HotblobError {
  const owner = errnoCode(cause) === 'EMFILE' ? 'process (ulimit -n)' : 'system (fs.file-max)';
  const message = `no file can be opened: the limit on open descriptors of the ${owner} is reached`;
  return new HotblobError('ERR_HOTBLOB_OVERLOADED', message, { cause });
}
