import type { Artifact } from '../../contract/artifact.js';
import { decodeMetadata } from '../../contract/upload-metadata.js';
import { FAULT_DESCRIPTIONS, findBodyFault } from './body-check.js';
import { corruptError } from './errors.js';
import type { IndexEntry } from './index-entry.js';
import type { SegmentIndex } from './segment-index.js';
import { segmentPath } from './segment-set.js';

/**
 * Maximum number of cached paths of segment files. A store rarely has more segments. If it has, the cache is cleared.
 */
const MAX_CACHED_PATHS = 16_384;

/** Converts index entries to artifacts. */
export class ArtifactReader {
  readonly #index: SegmentIndex;
  readonly #directory: string;
  // Each path is created only once. The handler looks up the path in a Map for every request, and V8 caches the hash of
  // a string object.
  readonly #paths = new Map<number, string>();

  /** @param directory directory of the segment files */
  constructor(index: SegmentIndex, directory: string) {
    this.#index = index;
    this.#directory = directory;
  }

  /**
   * Returns the artifact of an entry. Does not check whether the segment file exists.
   *
   * @throws HotblobError `ERR_HOTBLOB_CORRUPT` if the metadata of the entry is corrupt
   */
  toArtifact(key: string, entry: IndexEntry): Artifact {
    entry.artifact ??= this.#createArtifact(key, entry);
    return entry.artifact;
  }

  #createArtifact(key: string, entry: IndexEntry): Artifact {
    const artifact = this.#toArtifactWithoutMetadata(entry);
    if (entry.metadata === undefined) return artifact;
    const metadata = decodeMetadata(entry.metadata);
    if (metadata === undefined) throw corruptError(this.#index.path, `the metadata of '${key}' is corrupt`);
    return { ...artifact, ...metadata };
  }

  /** Returns the artifact of an entry for a listing. Corrupt metadata is left out. */
  toListedArtifact(entry: IndexEntry, withMetadata: boolean): Artifact {
    const artifact = this.#toArtifactWithoutMetadata(entry);
    const metadata = withMetadata && entry.metadata !== undefined ? decodeMetadata(entry.metadata) : undefined;
    return metadata === undefined ? artifact : { ...artifact, ...metadata };
  }

  #toArtifactWithoutMetadata(entry: IndexEntry): Artifact {
    const { offset, length, inline } = entry;
    // The validators are not derived from the segment file, because it changes with every appended body and every copy.
    const validators = { etag: etagOf(entry.digest), lastModified: new Date(entry.time) };
    // The bytes are copied, so that compaction cannot store bytes that a caller has modified. Buffer.from(inline) would
    // keep 8 KiB of the pool of Buffer in memory.
    if (inline !== undefined)
      return { kind: 'bytes', bytes: Buffer.from(Uint8Array.from(inline).buffer), ...validators };
    return { kind: 'file', path: this.#pathOf(entry.segment), offset, length, immutable: true, ...validators };
  }

  /**
   * Checks the body of an entry against its checksum and returns the artifact. Returns `undefined` if the segment was
   * evicted in the meantime.
   *
   * @throws HotblobError `ERR_HOTBLOB_CORRUPT` with the path of the file if the body or the metadata is corrupt
   */
  async toVerifiedArtifact(
    key: string,
    entry: IndexEntry,
    signal: AbortSignal | undefined,
  ): Promise<Artifact | undefined> {
    const fault = await findBodyFault(entry, this.#pathOf(entry.segment), signal);
    if (fault === 'missing') return undefined;
    if (fault === undefined) return this.toArtifact(key, entry);
    const file = entry.inline === undefined ? this.#pathOf(entry.segment) : this.#index.path;
    throw corruptError(file, `the body of '${key}' ${FAULT_DESCRIPTIONS[fault]}`);
  }

  #pathOf(segment: number): string {
    let path = this.#paths.get(segment);
    if (path === undefined) {
      path = segmentPath(this.#directory, segment);
      if (this.#paths.size >= MAX_CACHED_PATHS) this.#paths.clear();
      this.#paths.set(segment, path);
    }
    return path;
  }
}

/** Returns the entity tag of a body. It depends on the bytes alone and therefore survives a copy to another segment. */
export function etagOf(digest: Uint8Array): string {
  return `"${Buffer.from(digest.buffer, digest.byteOffset, digest.byteLength).toString('base64url')}"`;
}
