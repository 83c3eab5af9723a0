import type { KeptBody, OpenFile } from '../page-cache/open-file.js';

/** Largest body that is kept. The larger a body is, the smaller is the part of its response that the copy takes. */
export const MAX_KEPT_BYTES = 256 * 1024;
/** Number of bodies of the same size that must fit into the cache, so that a few large ones do not displace all others. */
const MIN_BODIES = 64;
/** Share of its limit to which a full cache is emptied, so that unused bodies are rarely searched for. */
const EMPTIED_SHARE = 0.875;
/** Number of artifacts whose last use is remembered; a power of two. */
const REMEMBERED_USES = 4096;

/** Region of an immutable file that is the body of an artifact. */
export interface ArtifactRegion {
  readonly file: OpenFile;
  readonly offset: number;
  readonly length: number;
  /** Version of an artifact that is a whole file. Undefined for a part of a file to which others may be appended. */
  readonly version: string | undefined;
}

/**
 * Small bodies of immutable files that are kept in memory, because a system call and a buffer cost more than the rest of their
 * response. A body belongs to an open file: it is discarded when the file is replaced, deleted or idle for long. A body is
 * kept from its second use on, so that artifacts that are used once do not displace others.
 */
export class BodyCache {
  readonly #bodies = new Set<Body>();
  /** Hashes of the artifacts that were used last, by a part of the hash. */
  readonly #uses = new Int32Array(REMEMBERED_USES);
  /** Total size of the bodies in bytes, including discarded ones that responses still send. */
  bytes = 0;
  /** Total size of the bodies that responses send now. */
  usedBytes = 0;

  /** Returns a body that is kept, otherwise undefined. */
  get({ file, offset, length, version }: ArtifactRegion): Body | undefined {
    const body = file.bodies.get(offset);
    if (!(body instanceof Body)) return undefined;
    return body.memory.byteLength === length && body.version === version ? body : undefined;
  }

  /**
   * Copies a body from the page cache and keeps it, if it has been used before. Returns undefined if it is not kept.
   *
   * @param maxBytes maximum size of all bodies together
   */
  keep(region: ArtifactRegion, maxBytes: number): Body | undefined {
    const { file, offset, length } = region;
    if (length === 0 || length * MIN_BODIES > maxBytes || !this.#isRepeated(file, offset)) return undefined;
    if (this.bytes + length > maxBytes) this.shrink(maxBytes * EMPTIED_SHARE - length);
    if (this.bytes + length > maxBytes) return undefined;
    const memory = Buffer.allocUnsafeSlow(length);
    if (file.copyResident({ memory }, length, offset) !== length) return undefined;
    file.bodies.get(offset)?.discard();
    const body = new Body(memory, region, this);
    file.bodies.set(offset, body);
    this.#bodies.add(body);
    this.bytes += length;
    return body;
  }

  /** Discards bodies until at most `maxBytes` bytes are left: first those that have not been used since the last search. */
  shrink(maxBytes: number): void {
    this.#discardUnused(maxBytes);
    this.#discardUnused(maxBytes);
  }

  /** Discards the bodies that have not been used since the last search. */
  discardUnused(): void {
    this.#discardUnused(0);
  }

  /** Called once for each body, by {@link Body.discard}. */
  forget(body: Body): void {
    this.#bodies.delete(body);
  }

  #discardUnused(maxBytes: number): void {
    for (const body of this.#bodies) {
      if (this.bytes <= maxBytes) return;
      if (body.isRecent) body.isRecent = false;
      else body.discard();
    }
  }

  #isRepeated({ serial }: OpenFile, offset: number): boolean {
    const hash = Math.imul(Math.imul(serial, 0x9e3779b1) ^ Math.trunc(offset / 2 ** 32) ^ offset, 0x85ebca6b);
    const slot = (hash >>> 16) % REMEMBERED_USES;
    if (this.#uses[slot] === hash) return true;
    this.#uses[slot] = hash;
    return false;
  }
}

/** Body in memory. A response calls {@link retain} before it sends it, and {@link release} once afterwards. */
export class Body implements KeptBody {
  readonly memory: Buffer;
  /** Whether the body has been used since the last search for unused bodies. */
  isRecent = true;
  readonly version: string | undefined;
  readonly #file: OpenFile;
  readonly #offset: number;
  readonly #cache: BodyCache;
  #users = 0;
  #isDiscarded = false;

  constructor(memory: Buffer, { file, offset, version }: ArtifactRegion, cache: BodyCache) {
    this.memory = memory;
    this.version = version;
    this.#file = file;
    this.#offset = offset;
    this.#cache = cache;
  }

  retain(): void {
    this.isRecent = true;
    if (this.#users++ === 0) this.#cache.usedBytes += this.memory.byteLength;
  }

  release(): void {
    if (--this.#users > 0) return;
    this.#cache.usedBytes -= this.memory.byteLength;
    if (this.#isDiscarded) this.#cache.bytes -= this.memory.byteLength;
  }

  discard(): void {
    if (this.#isDiscarded) return;
    this.#isDiscarded = true;
    this.#file.bodies.delete(this.#offset);
    this.#cache.forget(this);
    if (this.#users === 0) this.#cache.bytes -= this.memory.byteLength;
  }
}
