import { type FileHandle, open, realpath } from 'node:fs/promises';
import { Readable } from 'node:stream';
import type { Artifact, ByteRange, FileArtifact } from '../../contract/artifact.js';
import { errnoCode, HotblobError } from '../../contract/errors.js';
import { prefixOf } from '../directory/paths.js';

/** The bytes of an artifact, whatever its kind. */
export interface Content {
  /** Bytes; undefined where nobody knows before the end. */
  readonly size: number | undefined;
  open(range: ByteRange | undefined, signal: AbortSignal): Promise<Readable>;
}

/** Undefined for a file that is not there. */
export async function contentOf(artifact: Artifact): Promise<Content | undefined> {
  if (artifact.kind === 'stream') {
    return { size: artifact.size, open: async (range, signal) => artifact.open(range, { signal }) };
  }
  if (artifact.kind === 'bytes') {
    const { bytes } = artifact;
    return { size: bytes.byteLength, open: async (range) => Readable.from([bytes.subarray(range?.start, range?.end)]) };
  }
  const size = await sizeOf(artifact);
  if (size === undefined) return undefined;
  return { size, open: (range, signal) => openRegion(artifact, range ?? { start: 0, end: size }, signal) };
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

async function openRegion(artifact: FileArtifact, range: ByteRange, signal: AbortSignal): Promise<Readable> {
  const handle = await openFile(artifact);
  if (handle === undefined) throw new HotblobError('ERR_HOTBLOB_TRUNCATED', `the file has vanished: ${artifact.path}`);
  const offset = artifact.offset ?? 0;
  if (range.end === range.start) {
    await handle.close();
    return Readable.from([]);
  }
  // It closes the descriptor at its end, whichever that is.
  return handle.createReadStream({ start: offset + range.start, end: offset + range.end - 1, signal });
}

async function openFile({ path, root }: FileArtifact): Promise<FileHandle | undefined> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, 'r');
    const isBelow = root === undefined || (await realpath(path)).startsWith(prefixOf(root));
    if (isBelow && (await handle.stat()).isFile()) return handle;
  } catch (error) {
    const isMissing = ['ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG', 'EISDIR'].includes(errnoCode(error) ?? '');
    if (!isMissing) {
      await handle?.close();
      throw error;
    }
  }
  await handle?.close();
  return undefined;
}
