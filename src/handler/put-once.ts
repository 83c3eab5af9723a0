import type { Readable } from 'node:stream';
import { errnoCode } from '../contract/errors.js';
import type { PutOptions, PutResult } from '../contract/store.js';

/** Result of {@link putOnce}. */
export interface PutOnceResult extends PutResult {
  /** Whether the key had an artifact, which was kept. */
  readonly wasKept: boolean;
}

/**
 * Stores `body` unless its key has an artifact. Of several uploads at the same time, the store keeps the first that
 * it commits. If the artifact is kept, the body is read to its end and discarded, so that the client can send all of it.
 *
 * @param put stores `body` under the key
 * @param find resolves to the artifact under the key. It counts as a use of the artifact
 * @throws the errors of the store and the body
 */
export async function putOnce(
  put: (options: PutOptions) => Promise<PutResult>,
  find: () => Promise<Pick<PutResult, 'etag'> | undefined>,
  body: Readable,
  options: PutOptions,
): Promise<PutOnceResult> {
  // If the lookup fails, the store still decides when it commits.
  const found = await find().catch(() => undefined);
  if (found !== undefined) return discardBody(body, found.etag);
  try {
    return { ...(await put({ ...options, ifAbsent: true })), wasKept: false };
  } catch (error) {
    if (errnoCode(error) !== 'ERR_HOTBLOB_EXISTS') throw error;
    return discardBody(body);
  }
}

/** Reads the rest of the body. Its length and digests are still checked. A store may have destroyed the stream. */
async function discardBody(body: Readable, etag?: string): Promise<PutOnceResult> {
  if (!body.destroyed) for await (const _chunk of body);
  return { created: false, etag, wasKept: true };
}
