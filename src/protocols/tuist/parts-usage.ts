import { HotblobError } from '../../contract/errors.js';

/** Minimum size that a part counts as, because a small file also takes space. */
export const MIN_PART_BYTES = 4096;
/** Minimum share of a namespace in the number of uploads. */
const MIN_SHARE = 8;

export interface PartsLimits {
  readonly maxUploads: number;
  readonly maxPartsBytes: number;
  readonly onPartsBytes?: ((change: number) => void) | undefined;
}

/** Upload as of the last time that its directory was read. */
interface StoredUpload {
  /** Namespace, and scope if it is not the default; undefined if it is not known. */
  readonly owner: string | undefined;
  readonly bytes: number;
  /** Modification time of its directory; undefined if a part has been stored since. */
  readonly mtimeMs: number | undefined;
}

/**
 * Unfinished uploads and the space of their parts, as far as this process knows. It counts its own parts while they
 * arrive, and those of other processes when `set` is called for them.
 */
export class PartsUsage {
  readonly #maxUploads: number;
  readonly #maxBytes: number;
  readonly #stored = new Map<string, StoredUpload>();
  #bytes = 0;
  readonly #bytesOf = new Map<string | undefined, number>();
  readonly #onChange: (bytes: number) => void;

  /** @param onPartsBytes called with each change of the space by this process */
  constructor({ maxUploads, maxPartsBytes, onPartsBytes = () => {} }: PartsLimits) {
    this.#maxUploads = maxUploads;
    this.#maxBytes = maxPartsBytes;
    this.#onChange = onPartsBytes;
  }

  names(): readonly string[] {
    return [...this.#stored.keys()];
  }

  /** Returns whether an upload is counted as of this modification time of its directory. */
  isCurrent(name: string, mtimeMs: number): boolean {
    return this.#stored.get(name)?.mtimeMs === mtimeMs;
  }

  /** Counts an upload that this process has changed. */
  update(name: string, upload: StoredUpload): void {
    this.#onChange(upload.bytes - this.#bytesOfUpload(name));
    this.set(name, upload);
  }

  /** Stops counting an upload that this process has removed. */
  remove(name: string): void {
    this.#onChange(-this.#bytesOfUpload(name));
    this.delete(name);
  }

  #bytesOfUpload(name: string): number {
    return this.#stored.get(name)?.bytes ?? 0;
  }

  /** Counts an upload as it was found. */
  set(name: string, upload: StoredUpload): void {
    this.delete(name);
    this.#stored.set(name, upload);
    this.#add(upload.owner, upload.bytes);
  }

  delete(name: string): void {
    const upload = this.#stored.get(name);
    if (upload === undefined) return;
    this.#stored.delete(name);
    this.#add(upload.owner, -upload.bytes);
  }

  /** @throws HotblobError `ERR_HOTBLOB_OVERLOADED` if another upload of the namespace would exceed a limit */
  assertMayStart(owner: string): void {
    const all = this.#stored.size;
    let own = 0;
    for (const upload of this.#stored.values()) if (upload.owner === owner) own++;
    const share = Math.max(MIN_SHARE, Math.floor(this.#maxUploads / 4));
    if (all < this.#maxUploads && own < share) return;
    throw new HotblobError(
      'ERR_HOTBLOB_OVERLOADED',
      `maxUploads: expected at most ${this.#maxUploads} unfinished uploads in parts, of which ${share} of one namespace, found ${all}, of which ${own} are of ${owner}`,
    );
  }

  /** Returns a counter for a part that is about to arrive. The caller must call `release`. */
  beginPart(owner: string): ArrivingPart {
    let bytes = 0;
    let counted = 0;
    const count = (total: number): void => {
      this.#add(owner, total - counted);
      this.#onChange(total - counted);
      counted = total;
    };
    return {
      add: (length) => {
        bytes += length;
        count(Math.max(MIN_PART_BYTES, bytes));
        this.#assertRoom(owner);
      },
      release: () => count(0),
    };
  }

  #assertRoom(owner: string): void {
    const own = this.#bytesOf.get(owner) ?? 0;
    const share = this.#maxBytes / 2;
    if (this.#bytes <= this.#maxBytes && own <= share) return;
    throw new HotblobError(
      'ERR_HOTBLOB_STORAGE_FULL',
      `maxPartsBytes: expected at most ${this.#maxBytes} bytes of unfinished uploads, of which ${share} of one namespace, found ${this.#bytes}, of which ${own} are of ${owner}`,
    );
  }

  #add(owner: string | undefined, bytes: number): void {
    this.#bytes += bytes;
    const own = (this.#bytesOf.get(owner) ?? 0) + bytes;
    if (own === 0) this.#bytesOf.delete(owner);
    else this.#bytesOf.set(owner, own);
  }
}

/** Counter of the bytes of a part. */
export interface ArrivingPart {
  /** @throws HotblobError `ERR_HOTBLOB_STORAGE_FULL` if all parts, or those of the namespace, are now too large */
  add(bytes: number): void;
  /** Stops counting the part: it was stored or discarded. */
  release(): void;
}
