import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import type { Artifact } from '../../contract/artifact.js';
import { errnoCode, HotblobError } from '../../contract/errors.js';
import { decodeMetadata } from '../../contract/upload-metadata.js';
import { DIGEST_BYTES, type Entry } from './entry.js';
import { corrupt } from './errors.js';
import type { SegmentIndex } from './segment-index.js';
import { segmentPath } from './segment-set.js';

/** Paths remembered. More segments than that are unusual; then they are made anew. */
const MAX_PATHS = 16_384;
/** Read at once to compare a body with its checksum. */
const WINDOW_BYTES = 256 * 1024;

/** Turns entries of the index into artifacts. */
export class ArtifactReader {
  readonly #index: SegmentIndex;
  readonly #directory: string;
  // Made once: a path is looked up for each request, and a string that has been hashed before is found sooner.
  readonly #paths = new Map<number, string>();

  /** @param directory where the segments are */
  constructor(index: SegmentIndex, directory: string) {
    this.#index = index;
    this.#directory = directory;
  }

  /**
   * The artifact of an entry. Nobody looks whether its segment is there.
   *
   * @throws HotblobError `ERR_HOTBLOB_CORRUPT` where what is said about it is not what was put
   */
  artifact(key: string, entry: Entry): Artifact {
    const artifact = this.bodyOf(entry);
    if (entry.metadata === undefined) return artifact;
    const metadata = decodeMetadata(entry.metadata);
    if (metadata === undefined) throw corrupt(this.#index.path, `the metadata of '${key}' in the index is damaged`);
    return { ...artifact, ...metadata };
  }

  /** The same, without what is said about it. */
  bodyOf(entry: Entry): Artifact {
    const { offset, length, inline } = entry;
    // Not those of the segment: both would change with each body that is appended, and with every copy.
    const validators = { etag: etagOf(entry.digest), lastModified: new Date(entry.time) };
    if (inline !== undefined) return { kind: 'bytes', bytes: inline, ...validators };
    return { kind: 'file', path: this.#pathOf(entry.segment), offset, length, immutable: true, ...validators };
  }

  /**
   * The same, once its body has been compared with its checksum; undefined where the segment has gone meanwhile.
   *
   * @throws HotblobError `ERR_HOTBLOB_CORRUPT`, with the name of the file, for a body that is hurt
   */
  async verified(key: string, entry: Entry, signal: AbortSignal | undefined): Promise<Artifact | undefined> {
    const fault = await faultOf(entry, this.#pathOf(entry.segment), signal);
    if (fault === 'missing') return undefined;
    if (fault === undefined) return this.artifact(key, entry);
    const file = entry.inline === undefined ? this.#pathOf(entry.segment) : this.#index.path;
    throw corrupt(file, `the body of '${key}' ${DESCRIPTIONS[fault]}`);
  }

  #pathOf(segment: number): string {
    let path = this.#paths.get(segment);
    if (path === undefined) {
      path = segmentPath(this.#directory, segment);
      if (this.#paths.size >= MAX_PATHS) this.#paths.clear();
      this.#paths.set(segment, path);
    }
    return path;
  }
}

/** What can be wrong with a body. */
export type BodyFault = 'missing' | 'truncated' | 'altered';

/** The rest of a sentence about a body. */
export const DESCRIPTIONS: Readonly<Record<BodyFault, string>> = {
  missing: 'is gone with its segment',
  truncated: 'is not whole: the segment ends before it does',
  altered: 'is not what was put: its checksum differs',
};

/** What is wrong with the body of an entry, whose segment is at `path`. @throws what the system says */
export async function faultOf(entry: Entry, path: string, signal?: AbortSignal): Promise<BodyFault | undefined> {
  const hash = createHash('sha256');
  if (entry.inline !== undefined) {
    if (entry.inline.byteLength !== entry.length) return 'truncated';
    hash.update(entry.inline);
  } else if (entry.length > 0) {
    const handle = await open(path, 'r').catch((error: unknown) => {
      if (errnoCode(error) === 'ENOENT') return undefined;
      throw error;
    });
    if (handle === undefined) return 'missing';
    try {
      const window = Buffer.allocUnsafe(Math.min(WINDOW_BYTES, entry.length));
      for (let done = 0; done < entry.length; ) {
        signal?.throwIfAborted();
        const wanted = Math.min(window.byteLength, entry.length - done);
        const { bytesRead } = await handle.read(window, 0, wanted, entry.offset + done);
        if (bytesRead === 0) return 'truncated';
        hash.update(window.subarray(0, bytesRead));
        done += bytesRead;
      }
    } finally {
      await handle.close();
    }
  }
  return hash.digest().subarray(0, DIGEST_BYTES).equals(entry.digest) ? undefined : 'altered';
}

/** The entity tag of a body: it stays the same wherever the body is copied to. */
export function etagOf(digest: Uint8Array): string {
  return `"${Buffer.from(digest.buffer, digest.byteOffset, digest.byteLength).toString('base64url')}"`;
}

const UNPAIRED = /\p{Surrogate}/u;

/** @throws HotblobError `ERR_HOTBLOB_INVALID_KEY` for a key that has no UTF-8: two of them would become one in the index */
export function assertEncodable(key: string): void {
  if (!UNPAIRED.test(key)) return;
  throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'a key of a segment store holds no half of a surrogate pair');
}
