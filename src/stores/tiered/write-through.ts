import type { Readable } from 'node:stream';
import type { PutOptions, PutResult, Store } from '../../contract/store.js';
import { chunksOf } from '../body.js';
import { existsError } from '../exists-error.js';
import { contentOf } from './content.js';
import { logTiered } from './log.js';
import type { WritableStore } from './options.js';
import type { Remote } from './remote.js';
import { Branch } from './tee.js';

/**
 * Function that runs the commits of one key one after another, so that concurrent uploads end in the same order in both
 * stores.
 */
type CommitLock = <T>(commit: () => Promise<T>) => Promise<T>;

/**
 * Streams a body to both stores. The end of the body is signalled to the local store only when the remote store has the
 * artifact, so that a failed upload changes neither store. If the local store fails, its previous artifact is deleted,
 * and the upload succeeds: the remote store has the new artifact.
 *
 * With `ifAbsent`, the local store is asked under the lock, and the remote store decides when it commits.
 *
 * @throws the error of the body or the remote store, or the reason of the signal
 */
export async function writeThrough(
  key: string,
  body: Readable,
  options: PutOptions,
  local: WritableStore,
  remote: Remote,
  remoteStore: WritableStore,
  lock: CommitLock,
): Promise<PutResult> {
  const { signal, size, metadata, ifAbsent } = options;
  const abort = new AbortController();
  const localBody = new Branch();
  const remoteBody = new Branch();
  /** Whether the body or the signal ended the upload. Such a failure says nothing about the remote store. */
  let isClientFailure = false;
  const localResult = local.put(key, localBody, { signal: abort.signal, size, metadata }).catch((error: unknown) => {
    localBody.destroy();
    return { error };
  });
  const onAbort = (): void => {
    isClientFailure = true;
    abort.abort(signal.reason);
  };
  signal.addEventListener('abort', onAbort);
  try {
    return await remote.run(
      async () => {
        const remoteResult = remoteStore.put(key, remoteBody, { signal: abort.signal, size, metadata, ifAbsent });
        remoteResult.catch(() => remoteBody.destroy());
        const copied = copy(body, options, [localBody, remoteBody], () => remoteBody.destroyed);
        copied.catch(() => {
          isClientFailure = true;
        });
        // If the remote store fails before the end of the body, the rest is not read.
        await Promise.race([copied, remoteResult.then(() => copied)]);
        return lock(async () => {
          signal.throwIfAborted();
          if (ifAbsent && (await isStored(local, key, signal))) {
            isClientFailure = true;
            throw existsError();
          }
          // From now on an abort is ignored: the remote store may have the artifact already, and only its response says
          // whether it does.
          signal.removeEventListener('abort', onAbort);
          remoteBody.end();
          const result = await remoteResult;
          localBody.end();
          const localOutcome = await localResult;
          if (!('error' in localOutcome)) return localOutcome;
          logTiered(
            'PUT %s: stored only in the remote store, because the local store failed: %O',
            key,
            localOutcome.error,
          );
          await local.delete?.(key);
          return result;
        });
      },
      () => isClientFailure,
    );
  } catch (error) {
    const reason = error instanceof Error ? error : new Error('the upload has failed', { cause: error });
    abort.abort(reason);
    localBody.destroy(reason);
    remoteBody.destroy(reason);
    await localResult;
    throw error;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

async function isStored(local: WritableStore, key: string, signal: AbortSignal): Promise<boolean> {
  const artifact = await local.get(key, { signal });
  return artifact !== undefined && (await contentOf(artifact)) !== undefined;
}

/**
 * Copies the body to all branches, at the pace of the slowest branch.
 *
 * @throws the error of the body or the reason of the signal
 */
async function copy(
  body: Readable,
  options: PutOptions,
  branches: readonly Branch[],
  isOver: () => boolean,
): Promise<void> {
  for await (const chunk of chunksOf(body, options, Number.POSITIVE_INFINITY)) {
    if (isOver()) return;
    await Promise.all(branches.map((branch) => branch.write(chunk)));
  }
}

/** Returns whether a store accepts uploads. */
export function isWritable(store: Store): store is WritableStore {
  return store.put !== undefined;
}
