import { type FileHandle, open } from 'node:fs/promises';
import { Readable } from 'node:stream';
import type { Artifact, ByteRange, FileArtifact } from '../../contract/artifact.js';
import { HotblobError } from '../../contract/errors.js';
import { isBelow } from '../../page-cache/below-root.js';
import { isMissing } from '../../util/missing-file.js';
import { OPEN_FLAGS } from '../../util/open-flags.js';

/** Bytes of an artifact, which may be of any kind. */
export interface Content {
  /** Size in bytes; undefined if the size is known only at the end of the stream. */
  readonly size: number | undefined;
  /** Whether `open` fails if the artifact has been replaced since the lookup, because it has a validator. */
  readonly isVersioned: boolean;
  /** Opens a range, or all bytes if `range` is undefined. */
  open(range: ByteRange | undefined, signal: AbortSignal): Promise<Readable>;
}

/** Returns the content of an artifact, or undefined if its file does not exist. */
export async function contentOf(artifact: Artifact): Promise<Content | undefined> {
  if (artifact.kind === 'stream') {
    const { size, etag, lastModified } = artifact;
    const isVersioned = (etag ?? lastModified) !== undefined;
    return { size, isVersioned, open: async (range, signal) => artifact.open(range, { signal }) };
  }
  if (artifact.kind === 'bytes') {
    const { bytes } = artifact;
    return {
      size: bytes.byteLength,
      isVersioned: true,
      open: async (range) => Readable.from([bytes.subarray(range?.start, range?.end)]),
    };
  }
  const size = await sizeOf(artifact);
  if (size === undefined) return undefined;
  return {
    size,
    isVersioned: false,
    open: (range, signal) => openRange(artifact, range ?? { start: 0, end: size }, signal),
  };
}

async function sizeOf(artifact: FileArtifact): Promise<number | undefined> {
  const handle = await openFile(artifact);
  if (handle === undefined) return undefined;
  try {
    return artifact.length ?? (await handle.stat()).size - (artifact.offset ?? 0);
  } finally {
    await handle.close();
  }
}

async function openRange(artifact: FileArtifact, range: ByteRange, signal: AbortSignal): Promise<Readable> {
  const handle = await openFile(artifact);
  if (handle === undefined) {
    throw new HotblobError('ERR_HOTBLOB_TRUNCATED', `file deleted before it was read: ${artifact.path}`);
  }
  const offset = artifact.offset ?? 0;
  if (range.end === range.start) {
    await handle.close();
    return Readable.from([]);
  }
  // The stream closes the descriptor when it ends, fails or is destroyed.
  return handle.createReadStream({ start: offset + range.start, end: offset + range.end - 1, signal });
}

async function openFile({ path, root }: FileArtifact): Promise<FileHandle | undefined> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, OPEN_FLAGS);
    const stats = await handle.stat({ bigint: true });
    if (stats.isFile() && (root === undefined || (await isBelow(root, path, handle.fd, stats)))) return handle;
  } catch (error) {
    if (!isMissing(error)) {
      await handle?.close();
      throw error;
    }
  }
  await handle?.close();
  return undefined;
}
