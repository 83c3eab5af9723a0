import type { Readable } from 'node:stream';
import type { PutOptions, PutResult, Store } from '../../contract/store.js';
import { chunksOf } from '../body.js';
import { logTiered } from './log.js';
import type { WritableStore } from './options.js';
import type { Remote } from './remote.js';
import { Branch } from './tee.js';

/** Gets one upload at a time past a point, so that uploads of one key end in the same order everywhere. */
export type Gate = <T>(commit: () => Promise<T>) => Promise<T>;

/**
 * Puts a body into both stores at once. The remote one decides: the local one gets to see the end of the body when the
 * remote one has it, so that a failure leaves both as they were. When the local store fails, what it had before is
 * deleted, and the upload has succeeded: it can be read back.
 *
 * Rejects with what the body, the signal or the remote store says.
 */
export async function writeThrough(
  key: string,
  body: Readable,
  options: PutOptions,
  local: WritableStore,
  remote: Remote,
  remoteStore: WritableStore,
  gate: Gate,
): Promise<PutResult> {
  const { size, metadata } = options;
  const over = new AbortController();
  const near = new Branch();
  const far = new Branch();
  let isOurs = false;
  const putLocal = local.put(key, near, { signal: over.signal, size, metadata });
  const localResult = putLocal.catch((error: unknown) => {
    near.destroy();
    return { error };
  });
  const onAbort = (): void => {
    isOurs = true;
    over.abort(options.signal.reason);
  };
  options.signal.addEventListener('abort', onAbort);
  try {
    return await remote.run(
      async () => {
        const putRemote = remoteStore.put(key, far, { signal: over.signal, size, metadata });
        putRemote.catch(() => far.destroy());
        const copied = copy(body, options, [near, far], () => far.destroyed);
        copied.catch(() => {
          isOurs = true;
        });
        // It may have failed before the end of the body: then the rest need not come.
        await Promise.race([copied, putRemote.then(() => copied)]);
        return gate(async () => {
          options.signal.throwIfAborted();
          // From here on the remote store decides: only its answer tells what there is.
          options.signal.removeEventListener('abort', onAbort);
          far.end();
          const farResult = await putRemote;
          near.end();
          const nearResult = await localResult;
          if (!('error' in nearResult)) return nearResult;
          logTiered('PUT %s: only the remote store has it: %O', key, nearResult.error);
          await local.delete?.(key);
          return farResult;
        });
      },
      () => isOurs,
    );
  } catch (error) {
    const reason = error instanceof Error ? error : new Error('the upload has failed', { cause: error });
    over.abort(reason);
    near.destroy(reason);
    far.destroy(reason);
    await localResult;
    throw error;
  } finally {
    options.signal.removeEventListener('abort', onAbort);
  }
}

/** Rejects with what the body or the signal says. */
async function copy(body: Readable, options: PutOptions, to: readonly Branch[], isOver: () => boolean): Promise<void> {
  for await (const chunk of chunksOf(body, options, Number.POSITIVE_INFINITY)) {
    if (isOver()) return;
    await Promise.all(to.map((branch) => branch.write(chunk)));
  }
}

/** Whether a store takes uploads. */
export function isWritable(store: Store): store is WritableStore {
  return store.put !== undefined;
}
