import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, stat, unlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { errnoCode } from '../../contract/errors.js';
import { invalidOption } from '../../contract/validation.js';
import { syncDirectories } from '../directory/paths.js';
import { logTiered } from './log.js';

/** What the remote store is still to do. */
export interface Task {
  readonly operation: 'put' | 'delete';
  readonly key: string;
  /** Its file's. */
  readonly name: string;
  /** How often it has failed since this process knows it. */
  failures: number;
  /** When it may be tried again, in milliseconds of `performance.now()`. */
  dueAt: number;
}

const SUFFIX = '.json';
const UNFINISHED = '.new';
const LEFTOVER_MS = 60 * 60 * 1000;

/**
 * Tasks that survive the process: a file for each, in the order of their names, durable once {@link add} resolves. There is
 * one for each key at most, the latest.
 */
export class TaskQueue {
  readonly #directory: string;
  readonly #max: number;
  /** What has waited longest comes first. */
  readonly #tasks = new Map<string, Task>();
  #sequence = 0;
  #dropped = 0;

  /** @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for a directory that cannot be had; else the error of the system */
  static async open(directory: string, max: number): Promise<TaskQueue> {
    const queue = new TaskQueue(resolve(directory), max);
    try {
      await mkdir(directory, { recursive: true });
      await queue.#load();
    } catch (cause) {
      const code = errnoCode(cause);
      throw Object.assign(invalidOption('queueDir', 'a directory that can be written to', code), { cause });
    }
    return queue;
  }

  private constructor(directory: string, max: number) {
    this.#directory = directory;
    this.#max = max;
  }

  get size(): number {
    return this.#tasks.size;
  }

  /** How many have been given up because there were too many. */
  get dropped(): number {
    return this.#dropped;
  }

  get(key: string): Task | undefined {
    return this.#tasks.get(key);
  }

  values(): IterableIterator<Task> {
    return this.#tasks.values();
  }

  /** Takes the place of what there is for the key. Resolves when it will survive. */
  async add(operation: Task['operation'], key: string): Promise<void> {
    const task = { operation, key, name: this.#nextName(), failures: 0, dueAt: 0 };
    const path = join(this.#directory, task.name);
    const handle = await open(path + UNFINISHED, 'wx');
    try {
      await handle.writeFile(JSON.stringify({ operation, key }));
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(path + UNFINISHED, path);
    await syncDirectories(new Set([this.#directory]));
    const before = this.#tasks.get(key);
    // Added at the same time, the later one may be there first.
    if (before !== undefined && before.name > task.name) return this.#unlink(task);
    this.#tasks.delete(key);
    this.#tasks.set(key, task);
    if (before !== undefined) await this.#unlink(before);
    await this.#limit();
  }

  /** It is done, or cannot be done. Nothing happens to a later one for the same key. */
  async remove(task: Task): Promise<void> {
    if (this.#tasks.get(task.key) === task) this.#tasks.delete(task.key);
    await this.#unlink(task);
  }

  /** Behind all others. */
  postpone(task: Task): void {
    if (this.#tasks.get(task.key) !== task) return;
    this.#tasks.delete(task.key);
    this.#tasks.set(task.key, task);
  }

  async #load(): Promise<void> {
    for (const name of (await readdir(this.#directory)).sort()) {
      if (name.endsWith(UNFINISHED)) await this.#removeLeftover(name);
      if (!name.endsWith(SUFFIX)) continue;
      const task = await this.#read(name);
      if (task === undefined) continue;
      const before = this.#tasks.get(task.key);
      this.#tasks.delete(task.key);
      this.#tasks.set(task.key, task);
      this.#sequence = Math.max(this.#sequence, Number.parseInt(name, 10));
      if (before !== undefined) await this.#unlink(before);
    }
    await this.#limit();
  }

  async #read(name: string): Promise<Task | undefined> {
    try {
      const found: unknown = JSON.parse(await readFile(join(this.#directory, name), 'utf8'));
      const { operation, key } = Object(found) as { readonly operation?: unknown; readonly key?: unknown };
      if ((operation === 'put' || operation === 'delete') && typeof key === 'string') {
        return { operation, key, name, failures: 0, dueAt: 0 };
      }
    } catch (error) {
      if (errnoCode(error) === 'ENOENT') return undefined; // another process has done it
      if (!(error instanceof SyntaxError)) throw error;
    }
    logTiered('%s is no task', name);
    return undefined;
  }

  /** Of a process that was killed. What is younger may be one that another process is writing. */
  async #removeLeftover(name: string): Promise<void> {
    const path = join(this.#directory, name);
    const age = await stat(path).then(
      ({ mtimeMs }) => Date.now() - mtimeMs,
      () => 0, // finished meanwhile
    );
    if (age > LEFTOVER_MS) await unlink(path).catch(() => {}); // another process does the same
  }

  async #limit(): Promise<void> {
    for (const oldest of this.#tasks.values()) {
      if (this.#tasks.size <= this.#max) return;
      this.#dropped++;
      logTiered('%s of %s is given up: more than %d wait', oldest.operation, oldest.key, this.#max);
      await this.remove(oldest);
    }
  }

  async #unlink(task: Task): Promise<void> {
    await unlink(join(this.#directory, task.name)).catch((error: unknown) => {
      if (errnoCode(error) !== 'ENOENT') throw error;
    });
  }

  #nextName(): string {
    // Strictly increasing, also when the clock is set back.
    this.#sequence = Math.max(this.#sequence + 1, Date.now() * 1000);
    return `${String(this.#sequence).padStart(17, '0')}-${randomUUID()}${SUFFIX}`;
  }
}
