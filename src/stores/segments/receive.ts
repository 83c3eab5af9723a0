import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { PutOptions } from '../../contract/store.js';
import { encodeMetadata } from '../../contract/upload-metadata.js';
import { chunksOf } from '../body.js';
import { DIGEST_BYTES } from './entry.js';
import type { ReceivedBody } from './operations.js';
import type { Region, SegmentSet } from './segment-set.js';
import type { Space } from './space.js';

/** A body that came whole. */
export interface Received {
  readonly body: ReceivedBody;
  readonly length: number;
  readonly digest: Uint8Array;
  /** What the upload says about itself, encoded. */
  readonly metadata: Uint8Array | undefined;
  /** To be called once its bytes are counted in a segment. */
  readonly onReserved?: (() => void) | undefined;
}

/** Bodies up to this size are kept in the index, where they take no second look. */
export const INLINE_BYTES = 256;
/** A body up to this size is gathered in memory, so that many are written at once, and one that fails leaves nothing. */
const GATHERED_BYTES = 256 * 1024;
/** All that is gathered. What comes on top goes to its segment chunk by chunk. */
const ALL_GATHERED_BYTES = 32 * 1024 * 1024;

/** Takes uploads in: small ones to memory, the others to a region that is theirs alone. */
export class Receiver {
  readonly #segments: SegmentSet;
  readonly #space: Space;
  #gathered = 0;

  constructor(segments: SegmentSet, space: Space) {
    this.#segments = segments;
    this.#space = space;
  }

  /**
   * Hands the received body to `commit`, and holds its memory and its room until that is done. What a body
   * has written that does not come to `commit` is given up.
   *
   * @throws HotblobError as {@link encodeMetadata} and {@link chunksOf}; else what the body, the signal or the system says
   */
  async receive<T>(
    body: Readable,
    options: PutOptions,
    maxBytes: number,
    commit: (received: Received) => Promise<T>,
  ): Promise<T> {
    const metadata = encodeMetadata(options.metadata);
    const hash = createHash('sha256');
    const digest = (): Uint8Array => hash.digest().subarray(0, DIGEST_BYTES);
    const chunks: Uint8Array[] = [];
    let length = 0;
    let gathered = 0;
    let direct: DirectWrite | undefined;
    let isCommitted = false;
    let taken = 0;
    const giveBack = (): void => {
      this.#space.give(taken);
      taken = 0;
    };
    try {
      if ((options.size ?? 0) > GATHERED_BYTES) direct = await this.#writeDirectly(options.size);
      for await (const chunk of chunksOf(body, options, maxBytes)) {
        hash.update(chunk);
        length += chunk.byteLength;
        if (direct === undefined && this.#canGather(length, chunk.byteLength)) {
          chunks.push(chunk);
          gathered += chunk.byteLength;
          this.#gathered += chunk.byteLength;
          continue;
        }
        if (direct === undefined) {
          direct = await this.#writeDirectly(options.size);
          await direct.write(chunks);
          chunks.length = 0;
          this.#gathered -= gathered;
          gathered = 0;
        }
        await direct.write([chunk]);
      }
      if (direct !== undefined) {
        isCommitted = true;
        return await commit({ body: { kind: 'region', region: direct.region }, length, digest: digest(), metadata });
      }
      const wanted = length + (metadata?.byteLength ?? 0);
      await this.#space.take(wanted);
      taken = wanted;
      const received: ReceivedBody =
        length <= INLINE_BYTES ? { kind: 'inline', bytes: Buffer.concat(chunks) } : { kind: 'memory', chunks };
      return await commit({ body: received, length, digest: digest(), metadata, onReserved: giveBack });
    } finally {
      giveBack();
      this.#gathered -= gathered;
      if (direct !== undefined && !isCommitted) this.#segments.giveUp(direct.region);
    }
  }

  #canGather(length: number, added: number): boolean {
    return length <= GATHERED_BYTES && this.#gathered + added <= ALL_GATHERED_BYTES;
  }

  async #writeDirectly(size: number | undefined): Promise<DirectWrite> {
    if (size === undefined) return new DirectWrite(this.#segments.lend(), undefined, this.#space);
    await this.#space.take(size);
    try {
      return new DirectWrite(this.#segments.reserve(size), size, this.#space);
    } finally {
      this.#space.give(size);
    }
  }
}

/** Writes one body to its region as it comes. */
class DirectWrite {
  readonly region: Region;
  readonly #size: number | undefined;
  readonly #space: Space;
  #written = 0;

  constructor(region: Region, size: number | undefined, space: Space) {
    this.region = region;
    this.#size = size;
    this.#space = space;
  }

  async write(chunks: readonly Uint8Array[]): Promise<void> {
    const { segment, offset } = this.region;
    const bytes = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
    if (bytes === 0) return;
    if (this.#size === undefined) {
      await this.#space.take(bytes);
      segment.reserve(bytes);
      this.#space.give(bytes);
    }
    const position = offset + this.#written;
    this.#written += bytes;
    await segment.write(chunks, position);
  }
}
