import type { Readable } from 'node:stream';
import { errnoCode } from '../../contract/errors.js';
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

/** Outcome of `put` of one store. */
type Outcome = PutResult | { readonly error: unknown };

/**
 * Streams a body to both stores. The end of the body is signalled to the local store only when the remote store has
 * answered, so that an upload that fails changes neither store.
 *
 * A remote store that fails or refuses the upload does not fail it: the local store gets the artifact, and the outcome is
 * reported to `remote`. If only the local store fails, its previous artifact is deleted, and the upload succeeds.
 *
 * With `ifAbsent`, the local store is asked under the lock, and the remote store decides when it commits.
 *
 * @throws the error of the body, the reason of the signal, or the error of the local store if both stores fail
 * @throws HotblobError `ERR_HOTBLOB_EXISTS` if either store has an artifact and `ifAbsent` is set
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
  const attempt = remote.admit();
  if (attempt === undefined) {
    remote.countUnreplicated();
    return local.put(key, body, options);
  }
  const { signal, size, metadata, ifAbsent } = options;
  const abort = new AbortController();
  const onAbort = (): void => abort.abort(signal.reason);
  signal.addEventListener('abort', onAbort);
  const localBody = new Branch();
  const localOutcome = outcomeOf(localBody, () => local.put(key, localBody, { signal: abort.signal, size, metadata }));
  const remoteBody = new Branch();
  const remoteOutcome = outcomeOf(remoteBody, async () => {
    try {
      const result = await remoteStore.put(key, remoteBody, { signal: abort.signal, size, metadata, ifAbsent });
      attempt.succeeded();
      return result;
    } catch (error) {
      // If the body or the signal has ended the upload, this says nothing about the remote store.
      if (abort.signal.aborted) attempt.abandoned();
      else remote.reportUpload(attempt, key, error);
      throw error;
    }
  });
  try {
    // If the remote store already has an artifact, the rest of the body is not received.
    await Promise.race([copy(body, options, [localBody, remoteBody]), rejectIfExists(remoteOutcome)]);
    return await lock(async () => {
      signal.throwIfAborted();
      if (ifAbsent && (await isStored(local, key, signal))) throw existsError();
      // From now on an abort is ignored: the remote store may have the artifact already, and only its response says
      // whether it does.
      signal.removeEventListener('abort', onAbort);
      remoteBody.end();
      const inRemote = await remoteOutcome;
      if ('error' in inRemote && errnoCode(inRemote.error) === 'ERR_HOTBLOB_EXISTS') throw inRemote.error;
      localBody.end();
      const inLocal = await localOutcome;
      if (!('error' in inLocal)) return inLocal;
      if ('error' in inRemote) throw inLocal.error;
      logTiered('PUT %s: stored only in the remote store, because the local store failed: %O', key, inLocal.error);
      await local.delete?.(key);
      return inRemote;
    });
  } catch (error) {
    const reason = error instanceof Error ? error : new Error('the upload has failed', { cause: error });
    abort.abort(reason);
    localBody.destroy(reason);
    remoteBody.destroy(reason);
    await localOutcome;
    throw error;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Never rejects. Destroys the branch at the end, so that {@link copy} does not wait for a store that reads no more. */
async function outcomeOf(branch: Branch, put: () => Promise<PutResult>): Promise<Outcome> {
  try {
    return await put();
  } catch (error) {
    return { error };
  } finally {
    branch.destroy();
  }
}

async function isStored(local: WritableStore, key: string, signal: AbortSignal): Promise<boolean> {
  try {
    const artifact = await local.get(key, { signal });
    return artifact !== undefined && (await contentOf(artifact)) !== undefined;
  } catch (error) {
    if (errnoCode(error) === 'ERR_HOTBLOB_CORRUPT') return false; // the upload replaces it
    throw error;
  }
}

/**
 * Copies the body to all branches that are not destroyed, at the pace of the slowest one.
 *
 * @throws the error of the body or the reason of the signal
 */
async function copy(body: Readable, options: PutOptions, branches: readonly Branch[]): Promise<void> {
  for await (const chunk of chunksOf(body, options, Number.POSITIVE_INFINITY)) {
    if (branches.every(({ destroyed }) => destroyed)) return;
    await Promise.all(branches.map((branch) => branch.write(chunk)));
  }
}

/** Rejects with `ERR_HOTBLOB_EXISTS` if that is the outcome. Otherwise never settles. */
async function rejectIfExists(pending: Promise<Outcome>): Promise<never> {
  const outcome = await pending;
  if ('error' in outcome && errnoCode(outcome.error) === 'ERR_HOTBLOB_EXISTS') throw outcome.error;
  return new Promise(() => {});
}

/** Returns whether a store accepts uploads. */
export function isWritable(store: Store): store is WritableStore {
  return store.put !== undefined;
}
