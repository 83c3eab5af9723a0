import type { KeptBody, OpenFile } from '../page-cache/open-file.js';

/** Largest body that is kept. The larger a body is, the smaller is the part of its response that the copy takes. */
export const MAX_KEPT_BYTES = 256 * 1024;
/** Number of bodies of the same size that must fit into the cache, so that a few large ones do not displace all others. */
const MIN_BODIES = 64;
/** Memory that a body takes in addition to its bytes: its buffer, its object and its entry in the map of the file. */
const OVERHEAD_BYTES = 1024;
/** Maximum number of bodies. The event loop discards all of them within a few milliseconds. */
const MAX_BODIES = 4096;
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

/** Node of a circular list. A new node is alone in its list. */
class ListNode {
  previous: ListNode = this;
  next: ListNode = this;

  insertBefore(node: ListNode): void {
    this.previous = node.previous;
    this.next = node;
    node.previous.next = this;
    node.previous = this;
  }

  unlink(): void {
    this.previous.next = this.next;
    this.next.previous = this.previous;
    this.previous = this;
    this.next = this;
  }
}

/**
 * Small bodies of immutable files that are kept in memory, because a system call and a buffer cost more than the rest of their
 * response. A body belongs to an open file: it is discarded when the file is replaced, deleted or idle for long. A body is
 * kept from its second use on, so that artifacts that are used once do not displace others.
 */
export class BodyCache {
  /** Total size of the bodies in bytes, including discarded ones that responses still send. */
  bytes = 0;
  /** Total size of the bodies that responses send now. */
  usedBytes = 0;
  readonly #onIdle: () => void;
  /** Head of the list of idle bodies. The least recently used body comes first. */
  readonly #idle = new ListNode();
  /** Hashes of the artifacts that were used last, by a part of the hash. */
  readonly #uses = new Int32Array(REMEMBERED_USES);
  /** Number of bodies without discarded ones. */
  #count = 0;
  #ticks = 0;

  /** @param onIdle called when a body becomes idle: no response sends it any more */
  constructor(onIdle: () => void) {
    this.#onIdle = onIdle;
  }

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
    if (file.isRetired || !file.canCopyResident) return undefined;
    const maxOtherBytes = maxBytes - length - OVERHEAD_BYTES;
    if (this.usedBytes > maxOtherBytes) return undefined;
    if (this.#count >= MAX_BODIES && this.#leastRecent === undefined) return undefined;
    const memory = Buffer.allocUnsafeSlow(length);
    if (file.copyResident({ memory }, length, offset) !== length) return undefined;
    file.bodies.get(offset)?.discard();
    this.shrink(maxOtherBytes);
    if (this.#count >= MAX_BODIES) this.#leastRecent?.discard();
    const body = new Body(memory, region, this);
    file.bodies.set(offset, body);
    this.#count++;
    this.bytes += body.size;
    this.#addIdle(body);
    return body;
  }

  /** Discards the least recently used bodies until at most `maxBytes` bytes are left, or only bytes in use. */
  shrink(maxBytes: number): void {
    while (this.bytes > maxBytes) {
      const body = this.#leastRecent;
      if (body === undefined) return;
      body.discard();
    }
  }

  /** Increments the tick counter, and discards the bodies that have been idle for `maxIdleTicks` ticks. */
  tick(maxIdleTicks: number): void {
    this.#ticks++;
    for (;;) {
      const body = this.#leastRecent;
      if (body === undefined || this.#ticks - body.idleSince < maxIdleTicks) return;
      body.discard();
    }
  }

  /** Called by {@link Body} when a response begins to send an idle body. */
  onUsed(body: Body): void {
    body.unlink();
    this.usedBytes += body.size;
  }

  /** Called by {@link Body} when no response sends it any more. */
  onReleased(body: Body): void {
    this.usedBytes -= body.size;
    if (body.isDiscarded) this.bytes -= body.size;
    else this.#addIdle(body);
    this.#onIdle();
  }

  /** Called by {@link Body}, once for each body. */
  onDiscarded(body: Body): void {
    this.#count--;
    if (body.isUsed) return;
    body.unlink();
    this.bytes -= body.size;
  }

  get #leastRecent(): Body | undefined {
    const { next } = this.#idle;
    return next instanceof Body ? next : undefined;
  }

  #addIdle(body: Body): void {
    body.idleSince = this.#ticks;
    body.insertBefore(this.#idle);
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
export class Body extends ListNode implements KeptBody {
  readonly memory: Buffer;
  readonly version: string | undefined;
  /** Number of bytes that the body counts in its cache. */
  readonly size: number;
  /** Value of the tick counter when the body became idle. See {@link BodyCache.tick}. */
  idleSince = 0;
  isDiscarded = false;
  readonly #file: OpenFile;
  readonly #offset: number;
  readonly #cache: BodyCache;
  #users = 0;

  constructor(memory: Buffer, { file, offset, version }: ArtifactRegion, cache: BodyCache) {
    super();
    this.memory = memory;
    this.version = version;
    this.size = memory.byteLength + OVERHEAD_BYTES;
    this.#file = file;
    this.#offset = offset;
    this.#cache = cache;
  }

  get isUsed(): boolean {
    return this.#users > 0;
  }

  retain(): void {
    if (this.#users++ === 0) this.#cache.onUsed(this);
  }

  release(): void {
    if (--this.#users === 0) this.#cache.onReleased(this);
  }

  discard(): void {
    if (this.isDiscarded) return;
    this.isDiscarded = true;
    this.#file.bodies.delete(this.#offset);
    this.#cache.onDiscarded(this);
  }
}
