import { randomUUID } from 'node:crypto';
import { open, readdir, readFile, rename, stat, unlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { errnoCode, HotblobError } from '../../contract/errors.js';
import { createDirectory } from '../../util/create-directory.js';
import { PRIVATE } from '../../util/permissions.js';
import { syncDirectories } from '../directory/paths.js';
import { logTiered } from './log.js';

/** Upload or deletion that the remote store has not received yet. */
export interface ReplicationTask {
  readonly operation: 'put' | 'delete';
  readonly key: string;
  /** File name in the queue directory. */
  readonly name: string;
  /** Number of failed attempts by this process. */
  failures: number;
  /** Earliest time of the next attempt, in milliseconds of `performance.now()`. */
  dueAt: number;
  /** Number of tasks that had been started when the remote store last refused this one. */
  refusedAt?: number;
}

const SUFFIX = '.json';
/** Suffix of the name of a file that is being written. */
const TEMPORARY_SUFFIX = '.new';
const MAX_TEMPORARY_AGE_MS = 60 * 60 * 1000;

/** Resolves to the number of tasks in a queue that need not exist. Never rejects. */
export async function countTasks(directory: string): Promise<number> {
  const names = await readdir(directory).catch((): string[] => []); // opening the queue reports the error
  return names.filter((name) => name.endsWith(SUFFIX)).length;
}

/**
 * Queue of tasks on the disk, which survives the process. Each task is a file, and the order of the file names is the
 * order of the tasks. A task is durable when {@link add} resolves. A key has at most one task, the latest.
 */
export class ReplicationQueue {
  readonly #directory: string;
  readonly #maxTasks: number;
  /** Tasks by key, the oldest first. */
  readonly #tasks = new Map<string, ReplicationTask>();
  #sequence = 0;
  #dropped = 0;

  /**
   * Creates the directory if it does not exist, and loads its tasks.
   *
   * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` if the directory cannot be created, read or written
   */
  static async open(directory: string, maxTasks: number): Promise<ReplicationQueue> {
    const queue = new ReplicationQueue(resolve(directory), maxTasks);
    try {
      await createDirectory(directory, PRIVATE.directory);
      await queue.#load();
    } catch (cause) {
      const message = `queueDir: expected a writable directory, received '${directory}' (${errnoCode(cause)})`;
      throw new HotblobError('ERR_HOTBLOB_INVALID_OPTION', message, { cause });
    }
    return queue;
  }

  private constructor(directory: string, maxTasks: number) {
    this.#directory = directory;
    this.#maxTasks = maxTasks;
  }

  get size(): number {
    return this.#tasks.size;
  }

  /** Number of tasks that were removed because the queue was full. */
  get dropped(): number {
    return this.#dropped;
  }

  get(key: string): ReplicationTask | undefined {
    return this.#tasks.get(key);
  }

  values(): IterableIterator<ReplicationTask> {
    return this.#tasks.values();
  }

  /** Adds a task, which replaces the previous task of the key. Resolves when the task is durable. */
  async add(operation: ReplicationTask['operation'], key: string): Promise<void> {
    const task = { operation, key, name: this.#nextName(), failures: 0, dueAt: 0 };
    const path = join(this.#directory, task.name);
    const handle = await open(path + TEMPORARY_SUFFIX, 'wx', PRIVATE.file);
    try {
      await handle.writeFile(JSON.stringify({ operation, key }));
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(path + TEMPORARY_SUFFIX, path);
    await syncDirectories(new Set([this.#directory]));
    const previous = this.#tasks.get(key);
    // If two tasks of a key are added concurrently, the file of the later one may be written first.
    if (previous !== undefined && previous.name > task.name) return this.#unlink(task);
    this.#tasks.delete(key);
    this.#tasks.set(key, task);
    if (previous !== undefined) await this.#unlink(previous);
    await this.#dropExcess();
  }

  /** Removes a task that has succeeded or cannot succeed. Keeps a later task of the same key. */
  async remove(task: ReplicationTask): Promise<void> {
    if (this.#tasks.get(task.key) === task) this.#tasks.delete(task.key);
    await this.#unlink(task);
  }

  /** Moves a task to the end of the queue. */
  postpone(task: ReplicationTask): void {
    if (this.#tasks.get(task.key) !== task) return;
    this.#tasks.delete(task.key);
    this.#tasks.set(task.key, task);
  }

  async #load(): Promise<void> {
    for (const name of (await readdir(this.#directory)).sort()) {
      if (name.endsWith(TEMPORARY_SUFFIX)) await this.#removeAbandoned(name);
      if (!name.endsWith(SUFFIX)) continue;
      const task = await this.#read(name);
      if (task === undefined) continue;
      const previous = this.#tasks.get(task.key);
      this.#tasks.delete(task.key);
      this.#tasks.set(task.key, task);
      this.#sequence = Math.max(this.#sequence, Number.parseInt(name, 10));
      if (previous !== undefined) await this.#unlink(previous);
    }
    await this.#dropExcess();
  }

  async #read(name: string): Promise<ReplicationTask | undefined> {
    try {
      const content: unknown = JSON.parse(await readFile(join(this.#directory, name), 'utf8'));
      const { operation, key } = Object(content) as { readonly operation?: unknown; readonly key?: unknown };
      if ((operation === 'put' || operation === 'delete') && typeof key === 'string') {
        return { operation, key, name, failures: 0, dueAt: 0 };
      }
    } catch (error) {
      if (errnoCode(error) === 'ENOENT') return undefined; // Another process has finished the task.
      if (!(error instanceof SyntaxError)) throw error;
    }
    logTiered('replication queue: ignoring the file %s, which is not a task', name);
    return undefined;
  }

  /**
   * Removes a temporary file if it is so old that its process must have been killed. A newer temporary file may still
   * be in use.
   */
  async #removeAbandoned(name: string): Promise<void> {
    const path = join(this.#directory, name);
    const ageMs = await stat(path).then(
      ({ mtimeMs }) => Date.now() - mtimeMs,
      () => 0, // Renamed by its process in the meantime.
    );
    if (ageMs > MAX_TEMPORARY_AGE_MS) await unlink(path).catch(() => {}); // Another process may have removed it.
  }

  async #dropExcess(): Promise<void> {
    for (const oldest of this.#tasks.values()) {
      if (this.#tasks.size <= this.#maxTasks) return;
      this.#dropped++;
      logTiered('replication queue full (%d keys): dropping %s of %s', this.#maxTasks, oldest.operation, oldest.key);
      await this.remove(oldest);
    }
  }

  async #unlink(task: ReplicationTask): Promise<void> {
    await unlink(join(this.#directory, task.name)).catch((error: unknown) => {
      if (errnoCode(error) !== 'ENOENT') throw error;
    });
  }

  #nextName(): string {
    // The sequence number increases even if the clock is set back.
    this.#sequence = Math.max(this.#sequence + 1, Date.now() * 1000);
    return `${String(this.#sequence).padStart(17, '0')}-${randomUUID()}${SUFFIX}`;
  }
}
