import { errnoCode } from '../../contract/errors.js';
import type { Store } from '../../contract/store.js';
import { uploadMetadataOf } from '../../contract/upload-metadata.js';
import { messageOf, reportEvent } from '../../util/report-event.js';
import { discard } from '../body.js';
import type { Attempt } from './breaker.js';
import { contentOf } from './content.js';
import { logTiered } from './log.js';
import { isClientError, type Remote, reportWriteError } from './remote.js';
import type { ReplicationQueue, ReplicationTask } from './replication-queue.js';

/** Executes a task. Resolves to whether the remote store was asked. */
type Action = (signal: AbortSignal) => Promise<boolean>;

const CONCURRENCY = 4;
/**
 * Delay in milliseconds after the first failure. It doubles with each further failure: of the remote store, for the whole queue;
 * of the local store, for the task.
 */
const INITIAL_RETRY_MS = 500;
const MAX_RETRY_MS = 60_000;
/** Interval in milliseconds at which waiting tasks are checked. */
const POLL_MS = 250;

/**
 * Sends the tasks of the replication queue to the remote store in the background.
 *
 * If the remote store fails or refuses a task, the whole queue waits, and then one task at a time is sent until one succeeds. A
 * refused task remains in the queue, because the token may have expired. An upload that is refused again after another task has
 * succeeded is removed: the reason must be its key or content. A deletion is not removed, because the remote store would then
 * return the artifact.
 */
export class Replication {
  readonly #queue: ReplicationQueue;
  readonly #local: Store;
  readonly #remote: Remote;
  readonly #running = new Map<string, { readonly controller: AbortController; readonly done: Promise<void> }>();
  #timer: NodeJS.Timeout | undefined;
  /** Number of consecutive delays because of the remote store. */
  #delays = 0;
  /** End of the current delay, in milliseconds of `performance.now()`. */
  #resumeAt = 0;
  /** Number of tasks that were started. */
  #started = 0;
  /** Number of the latest started task that has succeeded. */
  #lastSuccess = 0;
  #isClosed = false;

  constructor(queue: ReplicationQueue, local: Store, remote: Remote) {
    this.#queue = queue;
    this.#local = local;
    this.#remote = remote;
    this.#startDueTasks();
  }

  /**
   * Returns whether an upload or deletion of the key is still in the queue. The artifact of the remote store is then
   * outdated.
   */
  isPending(key: string): boolean {
    return this.#queue.get(key) !== undefined;
  }

  /** Queues the upload of an artifact from the local store. Resolves when the task is durable. */
  async put(key: string): Promise<void> {
    await this.#queue.add('put', key);
    this.#startDueTasks();
  }

  /**
   * Deletes an artifact from the remote store. If this fails, the deletion remains in the queue. Resolves to whether
   * the remote store had the artifact, or to true if that is unknown.
   */
  async delete(key: string): Promise<boolean> {
    // The deletion is queued first, so that it still follows an upload in flight if the process ends.
    await this.#queue.add('delete', key);
    const running = this.#running.get(key);
    running?.controller.abort(new Error('the artifact has been deleted'));
    await running?.done;
    // When the upload ended, the deletion may have been started.
    const deletion = this.#running.get(key);
    await deletion?.done;
    const task = this.#queue.get(key);
    if (deletion !== undefined || task?.operation !== 'delete') return true;
    const attempt = this.#remote.admit();
    if (attempt === undefined) return true;
    let isDeleted = true;
    await this.#run(task, attempt, async () => {
      isDeleted = (await this.#remote.store.delete?.(key)) ?? false;
      return true;
    });
    return isDeleted;
  }

  /** Aborts the tasks in flight. These tasks remain in the queue. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    const running = [...this.#running.values()];
    for (const { controller } of running) controller.abort(new Error('the store has been closed'));
    await Promise.all(running.map(({ done }) => done));
  }

  #startDueTasks(): void {
    if (this.#isClosed) return;
    clearTimeout(this.#timer);
    const now = performance.now();
    let isWaiting = false;
    const maxRunning = this.#delays === 0 ? CONCURRENCY : 1;
    for (const task of this.#queue.values()) {
      if (this.#running.size >= maxRunning) return;
      if (this.#running.has(task.key)) continue;
      isWaiting = true;
      if (this.#resumeAt > now) break;
      if (task.dueAt > now) continue;
      const attempt = this.#remote.admit();
      if (attempt === undefined) break;
      void this.#run(task, attempt, (signal) => this.#execute(task, signal));
    }
    // The queue is on the disk, so the timer does not have to keep the process alive.
    if (isWaiting) this.#timer = setTimeout(() => this.#startDueTasks(), POLL_MS).unref();
  }

  /** Runs a task. Never rejects. */
  #run(task: ReplicationTask, attempt: Attempt, action: Action): Promise<void> {
    const controller = new AbortController();
    const done = this.#settle(task, attempt, action, controller.signal).finally(() => {
      this.#running.delete(task.key);
      this.#startDueTasks();
    });
    this.#running.set(task.key, { controller, done });
    return done;
  }

  /** Runs `action`, then removes the task or schedules a retry. */
  async #settle(task: ReplicationTask, attempt: Attempt, action: Action, signal: AbortSignal): Promise<void> {
    const number = ++this.#started;
    try {
      if (await action(signal)) {
        attempt.succeeded();
        this.#delays = 0;
        this.#lastSuccess = Math.max(this.#lastSuccess, number);
      } else {
        attempt.abandoned();
      }
      await this.#queue.remove(task);
    } catch (error) {
      if (signal.aborted) {
        attempt.abandoned();
        return;
      }
      const isLocal = error instanceof LocalError;
      if (isLocal) attempt.abandoned();
      else reportWriteError(attempt, error);
      logTiered('replication: %s of %s failed: %O', task.operation, task.key, error);
      if (task.failures++ === 0) reportEvent('replication failed', `${task.key}: ${messageOf(error)}`, error);
      if (this.#isFinal(task, error)) await this.#drop(task);
      else this.#queue.postpone(task);
      if (isLocal || task.operation === 'delete') task.dueAt = performance.now() + delayAfter(task.failures);
      if (!isLocal && !isClientError(error)) this.#delay();
    }
  }

  /** Returns whether the remote store would refuse a task again. Records a refusal. */
  #isFinal(task: ReplicationTask, error: unknown): boolean {
    if (isClientError(error)) return true;
    if (errnoCode(error) !== 'ERR_HOTBLOB_UPSTREAM_DENIED' || task.operation === 'delete') return false;
    const isRefusedAlone = task.refusedAt !== undefined && this.#lastSuccess > task.refusedAt;
    task.refusedAt = this.#started;
    return isRefusedAlone;
  }

  /** Delays the whole queue. A failure during the delay, of a task that was already in flight, does not extend it. */
  #delay(): void {
    const now = performance.now();
    if (now >= this.#resumeAt) this.#resumeAt = now + delayAfter(++this.#delays);
  }

  /** Removes a task that the remote store has refused. */
  async #drop(task: ReplicationTask): Promise<void> {
    if (task.operation === 'put') this.#remote.countUnreplicated();
    await this.#queue.remove(task).catch((error: unknown) => {
      logTiered('replication queue: removing %s failed: %O', task.name, error);
    });
  }

  /** Resolves to whether the remote store was asked: not if the local store no longer has the artifact. */
  async #execute({ operation, key }: ReplicationTask, signal: AbortSignal): Promise<boolean> {
    const { store } = this.#remote;
    if (operation === 'delete') {
      await store.delete?.(key);
      return true;
    }
    const body = await this.#readLocal(key, signal).catch(throwLocal);
    if (body === undefined) {
      logTiered('replication: put of %s skipped, because the local store no longer has the artifact', key);
      return false;
    }
    const { stream, size, metadata } = body;
    try {
      await store.put?.(key, stream, { signal, size, metadata });
      return true;
    } catch (error) {
      if (stream.errored !== null) throwLocal(stream.errored);
      throw error;
    } finally {
      discard(stream);
    }
  }

  async #readLocal(key: string, signal: AbortSignal) {
    const artifact = await this.#local.get(key, { signal });
    const content = artifact && (await contentOf(artifact));
    if (artifact === undefined || content === undefined) return undefined;
    const { size } = content;
    return { size, metadata: uploadMetadataOf(artifact), stream: await content.open(undefined, signal) };
  }
}

/** Error of the local store. It says nothing about the remote store. */
class LocalError extends Error {}

function throwLocal(error: unknown): never {
  throw new LocalError(messageOf(error), { cause: error });
}

function delayAfter(failures: number): number {
  return Math.min(MAX_RETRY_MS, INITIAL_RETRY_MS * 2 ** (failures - 1));
}
