import { stat } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import type { Artifact } from '../../../src/contract/artifact.js';
import { errnoCode } from '../../../src/contract/errors.js';
import { bytesOf } from '../segments/fixture.js';

interface ReadableStore {
  get(key: string): Artifact | undefined | Promise<Artifact | undefined>;
}

/** Reads the artifact under `key` in either kind of store. Resolves to undefined for a miss. */
export async function readShared(store: ReadableStore, key: string): Promise<Buffer | undefined> {
  for (;;) {
    const artifact = await store.get(key);
    if (artifact === undefined) return undefined;
    try {
      return await bytesOf(await withLength(artifact));
    } catch (error) {
      if (errnoCode(error) === 'ENOENT' && artifact.kind === 'file' && artifact.offset === undefined) return undefined;
      // Compaction may have moved the body since `get`. If `get` still returns the same location, the file is missing.
      if (isDeepStrictEqual(await store.get(key), artifact)) throw error;
    }
  }
}

/** Adds the length to an artifact of a directory store, which does not know it. */
async function withLength(artifact: Artifact): Promise<Artifact> {
  if (artifact.kind !== 'file' || artifact.length !== undefined) return artifact;
  return { ...artifact, length: (await stat(artifact.path)).size };
}
