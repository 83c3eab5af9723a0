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
  const hashes = new Set<string>();
  await addAll(hashes, files);
  const treeHashes = new Set<string>();
  await addAll(treeHashes, trees);
  for (const hash of treeHashes) {
    artifacts.signal.throwIfAborted();
    const tree = await artifacts.read(casPrefix + hash, available + 1);
    if (tree === undefined) return false;
    if (tree.byteLength > available) {
      available = 0;
      continue;
    }
    available -= tree.byteLength;
    await addAll(hashes, (await blobsOfTree(tree))?.files ?? []);
  }
  let isComplete = true;
  // After the first missing blob, the result is known. Going through the other hashes would block the event loop.
  const neededLookups = function* (): Generator<string> {
    for (const hash of hashes) {
      if (!isComplete) return;
      yield hash;
    }
  };
  await forEachConcurrently(neededLookups(), MAX_LOOKUPS, async (hash) => {
    artifacts.signal.throwIfAborted();
    if ((await artifacts.describe(casPrefix + hash)) === undefined) isComplete = false;
    await pause();
  });
  return isComplete;
}

/** Number of hashes that are added between two calls of {@link pause}. */
const HASHES_PER_PAUSE = 256;

async function addAll(hashes: Set<string>, files: readonly string[]): Promise<void> {
  for (const [index, file] of files.entries()) {
    if (index % HASHES_PER_PAUSE === 0) await pause();
    hashes.add(file);
  }
}
