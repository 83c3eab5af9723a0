import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { PutOptions } from '../../contract/store.js';
import { encodeMetadata } from '../../contract/upload-metadata.js';
import { chunksOf } from '../body.js';
import { isStorageFull } from './errors.js';
import { DIGEST_BYTES, estimateIndexBytes } from './index-entry.js';
import type { ReceivedBody } from './operations.js';
import type { Quota } from './quota.js';
import type { SegmentGroup } from './segment-groups.js';
import type { Region, SegmentSet } from './segment-set.js';

/** Complete upload, ready to commit. */
export interface ReceivedUpload {
  readonly body: ReceivedBody;
  readonly length: number;
  readonly digest: Uint8Array;
  /** Encoded metadata. */
  readonly metadata: Uint8Array | undefined;
  /** Called when the bytes of a `memory` body count as part of a segment. Ends the reservation of the body. */
  readonly onReserved?: (() => void) | undefined;
}

/** Maximum size of a body that is stored in the index, so that a read needs no access to a segment file. */
export const MAX_INLINE_BYTES = 256;
/**
 * Maximum size of a body that is buffered in memory. Many buffered bodies share one write, and a failed upload leaves
 * nothing on the disk.
 */
const MAX_BUFFERED_BYTES = 256 * 1024;
/**
 * Maximum total size of the bodies that are buffered at the same time. Above it, a body is written to its segment while
 * it arrives.
 */
const MAX_TOTAL_BUFFERED_BYTES = 32 * 1024 * 1024;

/** Frees disk space for `bytes` because the disk is full. Resolves to whether a second attempt may succeed. */
export type Reclaim = (bytes: number) => Promise<boolean>;

/** Receives uploads. Small bodies are buffered in memory, larger bodies are written to a reserved region. */
export class Receiver {
  readonly #segments: SegmentSet;
  readonly #quota: Quota;
  readonly #reclaim: Reclaim;
  #bufferedBytes = 0;

  constructor(segments: SegmentSet, quota: Quota, reclaim: Reclaim) {
    this.#segments = segments;
    this.#quota = quota;
    this.#reclaim = reclaim;
  }

  /**
   * Receives a body and passes it to `commit`. Keeps its buffers and its reserved space until `commit` has settled. If
   * the upload fails before, its region is discarded.
   *
   * @throws HotblobError for the reasons of {@link encodeMetadata} and {@link chunksOf}
   * @throws the error of the body, the reason of the signal, or the error of the system call
   */
  async receive<T>(
    key: string,
    group: SegmentGroup,
    body: Readable,
    options: Partial<PutOptions>,
    maxBytes: number,
    commit: (upload: ReceivedUpload) => Promise<T>,
  ): Promise<T> {
    const metadata = encodeMetadata(options.metadata);
    const hash = createHash('sha256');
    const digest = (): Uint8Array => hash.digest().subarray(0, DIGEST_BYTES);
    const chunks: Uint8Array[] = [];
    let length = 0;
    let bufferedBytes = 0;
    let direct: DirectWrite | undefined;
    let isCommitted = false;
    let reservedBytes = 0;
    const releaseSpace = (bytes: number): void => {
      this.#quota.release(bytes, group);
      reservedBytes -= bytes;
    };
    try {
      for await (const chunk of chunksOf(body, options, maxBytes - estimateIndexBytes(key, { metadata }))) {
        hash.update(chunk);
        length += chunk.byteLength;
        if (direct === undefined && this.#canBuffer(length, chunk.byteLength)) {
          chunks.push(chunk);
          bufferedBytes += chunk.byteLength;
          this.#bufferedBytes += chunk.byteLength;
          continue;
        }
        if (direct === undefined) {
          direct = this.#startDirectWrite(options.size, group);
          await direct.write(chunks);
          chunks.length = 0;
          this.#bufferedBytes -= bufferedBytes;
          bufferedBytes = 0;
        }
        await direct.write([chunk]);
      }
      const inline = direct === undefined && length <= MAX_INLINE_BYTES ? Buffer.concat(chunks) : undefined;
      const indexBytes = estimateIndexBytes(key, { inline, metadata });
      const isInMemory = direct === undefined && inline === undefined;
      const neededBytes = indexBytes + (isInMemory ? length : 0);
      await this.#quota.reserve(neededBytes, group);
      reservedBytes = neededBytes;
      let received: ReceivedBody;
      if (direct !== undefined) received = { kind: 'region', region: direct.region };
      else received = inline === undefined ? { kind: 'memory', chunks } : { kind: 'inline', bytes: inline };
      isCommitted = true;
      const onReserved = (): void => releaseSpace(length);
      return await commit({ body: received, length, digest: digest(), metadata, onReserved });
    } finally {
      releaseSpace(reservedBytes);
      this.#bufferedBytes -= bufferedBytes;
      if (direct !== undefined && !isCommitted) this.#segments.discard(direct.region);
    }
  }

  #canBuffer(length: number, added: number): boolean {
    return length <= MAX_BUFFERED_BYTES && this.#bufferedBytes + added <= MAX_TOTAL_BUFFERED_BYTES;
  }

  #startDirectWrite(size: number | undefined, group: SegmentGroup): DirectWrite {
    const region = size === undefined ? this.#segments.reserveSegment(group) : this.#segments.reserveHole(size, group);
    return new DirectWrite(region, this.#segments, this.#quota, this.#reclaim);
  }
}

/**
 * Writes a body to its region while the body arrives. Uses space only for bytes that have arrived, never for an
 * announced length.
 */
class DirectWrite {
  readonly region: Region;
  readonly #segments: SegmentSet;
  readonly #quota: Quota;
  readonly #reclaim: Reclaim;
  #written = 0;

  constructor(region: Region, segments: SegmentSet, quota: Quota, reclaim: Reclaim) {
    this.region = region;
    this.#segments = segments;
    this.#quota = quota;
    this.#reclaim = reclaim;
  }

  async write(chunks: readonly Uint8Array[]): Promise<void> {
    const { segment, offset, length } = this.region;
    const bytes = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
    if (bytes === 0) return;
    await this.#quota.reserve(bytes, segment.group);
    // The bytes count as part of the segment from here on.
    if (length === undefined) segment.reserve(bytes);
    else segment.fill(offset, bytes);
    this.#quota.release(bytes, segment.group);
    const position = offset + this.#written;
    this.#written += bytes;
    try {
      await this.#segments.write(segment, chunks, position);
    } catch (error) {
      const remaining = length === undefined ? bytes : length - (position - offset);
      if (!isStorageFull(error) || !(await this.#reclaim(remaining))) throw error;
      await this.#segments.write(segment, chunks, position);
    }
  }
}
