import { opendir, realpath, stat } from 'node:fs/promises';
import { filesBelow } from '../stores/directory/walk.js';
import { holdsSegmentStore } from '../stores/segments/layout.js';
import { segmentStore } from '../stores/segments/store.js';
import { prefixOf } from '../util/prefix-of.js';
import { CommandError } from './command.js';

/** Artifact of a store, or a single file, with the file region that contains its bytes. */
export interface ArtifactFile {
  readonly name: string;
  readonly bytes: number;
  /**
   * Region of a file that contains the bytes. `undefined` for an artifact whose bytes are in the index of a segment
   * store.
   */
  readonly region: Region | undefined;
  /** Time of the last known use, in milliseconds since the Unix epoch. */
  readonly usedAt: number;
}

/** Part of a file. Offset and length are in bytes. */
export interface Region {
  readonly path: string;
  readonly offset: number;
  readonly length: number;
}

/**
 * Lists the artifacts at `path`: every artifact of a segment store, every regular file below a directory, or the file itself.
 * Reads no bodies and writes nothing, so a server may use the directory at the same time.
 *
 * @throws HotblobError `ERR_HOTBLOB_NO_LMDB` for a segment store if `lmdb` cannot be loaded
 * @throws CommandError if `path` is neither a file nor a directory
 */
export async function* listArtifactFiles(path: string): AsyncGenerator<ArtifactFile> {
  const stats = await stat(path);
  if (stats.isFile()) {
    const { size, atimeMs, mtimeMs } = stats;
    const region = { path, offset: 0, length: size };
    yield { name: path, bytes: size, region, usedAt: Math.max(atimeMs, mtimeMs) };
  } else if (!stats.isDirectory()) {
    throw new CommandError(`${path}: expected a file or a directory`);
  } else if (await holdsSegmentStore(path)) {
    yield* listSegments(path);
  } else {
    yield* listDirectory(path);
  }
}

async function* listSegments(dir: string): AsyncGenerator<ArtifactFile> {
  const store = await segmentStore(dir, { readOnly: true });
  try {
    for await (const { key, artifact, size, usedAt } of store.list()) {
      const region =
        artifact.kind === 'file'
          ? { path: artifact.path, offset: artifact.offset ?? 0, length: artifact.length ?? size }
          : undefined;
      yield { name: key, bytes: size, region, usedAt };
    }
  } finally {
    await store.close();
  }
}

// Walks the directory without a directory store, which would delete unfinished uploads and skip names that are not
// valid keys.
async function* listDirectory(dir: string): AsyncGenerator<ArtifactFile> {
  const root = await realpath(dir);
  // filesBelow() skips directories that cannot be opened. If the root cannot be opened, the command must fail.
  await opendir(root).then((directory) => directory.close());
  for await (const files of filesBelow(root, () => false)) {
    for (const { key, bytes, usedAt } of files) {
      yield { name: key, bytes, region: { path: prefixOf(root) + key, offset: 0, length: bytes }, usedAt };
    }
  }
}
