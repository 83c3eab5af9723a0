import { forEachConcurrently } from '../../util/for-each-concurrently.js';
import { pause } from '../../util/loop-slices.js';
import type { ProtocolArtifacts } from '../protocol.js';
import { blobsOfActionResult, blobsOfTree } from './action-result.js';

/** Maximum size of an action result and its trees together. Refers to about 20,000 files. */
const MAX_PARSED_BYTES = 2 * 1024 * 1024;
/** Maximum number of concurrent lookups for an action result. */
const MAX_LOOKUPS = 16;

/**
 * Returns whether all blobs exist to which the action result under `key` refers. Each lookup counts as a use of the blob.
 * Bytes that are not an action result have no blobs, and neither has an action result above the limit. Files of trees beyond
 * the limit are not looked up. An empty action result is corrupt: returns false.
 */
export async function hasBlobs(artifacts: ProtocolArtifacts, key: string, casPrefix: string): Promise<boolean> {
  const bytes = await artifacts.read(key, MAX_PARSED_BYTES + 1);
  if (bytes === undefined) return true; // the download will be a miss
  if (bytes.byteLength === 0) return false;
  let available = MAX_PARSED_BYTES - bytes.byteLength;
  if (available < 0) return true;
  const { files, trees } = (await blobsOfActionResult(bytes)) ?? { files: [], trees: [] };
  const hashes = new Set(files);
  for (const hash of new Set(trees)) {
    artifacts.signal.throwIfAborted();
    const tree = await artifacts.read(casPrefix + hash, available + 1);
    if (tree === undefined) return false;
    if (tree.byteLength > available) {
      available = 0;
      continue;
    }
    available -= tree.byteLength;
    for (const file of (await blobsOfTree(tree))?.files ?? []) hashes.add(file);
  }
  let isComplete = true;
  await forEachConcurrently(hashes, MAX_LOOKUPS, async (hash) => {
    // After the first missing blob, the result is known.
    if (!isComplete) return;
    artifacts.signal.throwIfAborted();
    if ((await artifacts.describe(casPrefix + hash)) === undefined) isComplete = false;
    await pause();
  });
  return isComplete;
}
