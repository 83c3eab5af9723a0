import { opendir, realpath, stat } from 'node:fs/promises';
import { prefixOf } from '../stores/directory/paths.js';
import { filesBelow } from '../stores/directory/walk.js';
import { isSegmentStore } from '../stores/segments/layout.js';
import { segmentStore } from '../stores/segments/store.js';
import { CommandError } from './command.js';

/** An artifact, or a file, and where its bytes are. */
export interface ArtifactFile {
  readonly name: string;
  readonly bytes: number;
  /** Undefined for what an index has in itself: it has been read by then. */
  readonly region: Region | undefined;
  /** Last use, as far as it is known, in milliseconds since 1970. */
  readonly usedAt: number;
}

/** A part of a file, in bytes. */
export interface Region {
  readonly path: string;
  readonly offset: number;
  readonly length: number;
}

/**
 * What is at `path`: each artifact of a segment store, each regular file below a directory, or the file itself. Nothing is
 * changed and no body is read, so that a server may run beside it.
 *
 * @throws HotblobError `ERR_HOTBLOB_NO_LMDB` for segments where `lmdb` does not load, CommandError for what is neither file nor
 * directory; else what the system says
 */
export async function* artifactFiles(path: string): AsyncGenerator<ArtifactFile> {
  const stats = await stat(path);
  if (stats.isFile()) {
    const { size, atimeMs, mtimeMs } = stats;
    const region = { path, offset: 0, length: size };
    yield { name: path, bytes: size, region, usedAt: Math.max(atimeMs, mtimeMs) };
  } else if (!stats.isDirectory()) {
    throw new CommandError(`${path} is neither a file nor a directory`);
  } else if (await isSegmentStore(path)) {
    yield* inSegments(path);
  } else {
    yield* below(path);
  }
}

async function* inSegments(dir: string): AsyncGenerator<ArtifactFile> {
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

// Not by a directory store: opening one tidies up, and names that are no keys would be left out.
async function* below(dir: string): AsyncGenerator<ArtifactFile> {
  const root = await realpath(dir);
  // The walk passes over what it may not list, which would be everything here.
  await opendir(root).then((directory) => directory.close());
  for await (const files of filesBelow(root, () => false)) {
    for (const { key, bytes, usedAt } of files) {
      yield { name: key, bytes, region: { path: prefixOf(root) + key, offset: 0, length: bytes }, usedAt };
    }
  }
}
