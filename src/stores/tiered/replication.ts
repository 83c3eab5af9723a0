import type { Store } from '../../contract/store.js';
import { uploadMetadataOf } from '../../contract/upload-metadata.js';
import { discard } from '../body.js';
import type { Attempt } from './breaker.js';
import { contentOf } from './content.js';
import { logTiered } from './log.js';
import type { Task, TaskQueue } from './queue.js';
import { isRefusal, type Remote, settle } from './remote.js';

const CONCURRENCY = 4;
/** The first wait after a failure; each is twice as long as the one before. */
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 60_000;
/** How often it is asked whether the remote store may be tried again. */
const LOOK_MS = 250;

/** Does the tasks of a queue with the remote store, in the background. */
export class Replication {
  readonly #queue: TaskQueue;
  readonly #local: Store;
  readonly #remote: Remote;
  readonly #running = new Map<string, { readonly controller: AbortController; readonly done: Promise<void> }>();
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(queue: TaskQueue, local: Store, remote: Remote) {
    this.#queue = queue;
    this.#local = local;
    this.#remote = remote;
    this.#work();
  }

  /** Whether what the remote store has under the key is to be replaced or deleted. */
  isPending(key: string): boolean {
    return this.#queue.get(key) !== undefined;
  }

  /** Notes that the remote store is to get what the local one has. */
  async put(key: string): Promise<void> {
    await this.#queue.add('put', key);
    this.#work();
  }

  /** Deletes from the remote store: now, or, where that fails, later. Resolves to whether there was, or may be, something. */
  async delete(key: string): Promise<boolean> {
    // Durable first: what an upload in flight has left behind is deleted then, whatever happens.
    await this.#queue.add('delete', key);
    const running = this.#running.get(key);
    running?.controller.abort(new Error('the artifact has been deleted'));
    await running?.done;
    // With the end of that upload the deletion may have begun already.
    const begun = this.#running.get(key);
    await begun?.done;
    const task = this.#queue.get(key);
    if (begun !== undefined || task?.operation !== 'delete') return true;
    const attempt = this.#remote.enter();
    if (attempt === undefined) return true;
    let isDeleted = true;
    await this.#run(task, attempt, async () => {
      isDeleted = (await this.#remote.store.delete?.(key)) ?? false;
    });
    return isDeleted;
  }

  /** Ends what is under way. It stays in the queue. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    const running = [...this.#running.values()];
    for (const { controller } of running) controller.abort(new Error('the store has been closed'));
    await Promise.all(running.map(({ done }) => done));
  }

  #work(): void {
    if (this.#isClosed) return;
    clearTimeout(this.#timer);
    const now = performance.now();
    let isWaiting = false;
    for (const task of this.#queue.values()) {
      if (this.#running.size >= CONCURRENCY) return;
      if (this.#running.has(task.key)) continue;
      isWaiting = true;
      if (task.dueAt > now) continue;
      const attempt = this.#remote.enter();
      if (attempt === undefined) break;
      void this.#run(task, attempt, (signal) => this.#do(task, attempt, signal));
    }
    // It is on the disk: it keeps no process alive.
    if (isWaiting) this.#timer = setTimeout(() => this.#work(), LOOK_MS).unref();
  }

  /** Never rejects. */
  #run(task: Task, attempt: Attempt, action: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const controller = new AbortController();
    const done = this.#try(task, attempt, action, controller.signal).finally(() => {
      this.#running.delete(task.key);
      this.#work();
    });
    this.#running.set(task.key, { controller, done });
    return done;
  }

  async #try(
    task: Task,
    attempt: Attempt,
    action: (signal: AbortSignal) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    try {
      await action(signal);
      attempt.succeeded();
      await this.#queue.remove(task);
    } catch (error) {
      if (signal.aborted) {
        attempt.abandoned();
        return;
      }
      settle(attempt, error);
      logTiered('%s of %s: %O', task.operation, task.key, error);
      if (isRefusal(error)) {
        await this.#queue.remove(task).catch((cause: unknown) => logTiered('the queue: %O', cause));
        return;
      }
      task.dueAt = performance.now() + Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** task.failures++);
      this.#queue.postpone(task);
    }
  }

  async #do({ operation, key }: Task, attempt: Attempt, signal: AbortSignal): Promise<void> {
    const { store } = this.#remote;
    if (operation === 'delete') {
      await store.delete?.(key);
      return;
    }
    const body = await this.#read(key, signal).catch((error: unknown) => {
      attempt.abandoned(); // of the remote store it says nothing
      throw error;
    });
    if (body === undefined) {
      attempt.abandoned();
      logTiered('put of %s: the local store has it no more', key);
      return;
    }
    try {
      await store.put?.(key, body.stream, { signal, size: body.size, metadata: body.metadata });
    } finally {
      discard(body.stream);
    }
  }

  async #read(key: string, signal: AbortSignal) {
    const artifact = await this.#local.get(key, { signal });
    const content = artifact && (await contentOf(artifact));
    if (artifact === undefined || content === undefined) return undefined;
    const { size } = content;
    return { size, metadata: uploadMetadataOf(artifact), stream: await content.open(undefined, signal) };
  }
}
