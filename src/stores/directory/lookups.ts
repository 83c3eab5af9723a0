import type { UploadMetadata } from '../../contract/artifact.js';
import type { FileHolder } from '../../page-cache/release-file.js';
import { type BodyIdentity, identityAt, isSameBody, type Sidecars } from './metadata.js';

/**
 * Age at which a cached entry is compared with the file at its path again. Open descriptors are checked at the same
 * interval.
 */
const REVALIDATE_AFTER_MS = 1000;
/** Maximum size of the cache in bytes. An entry counts as {@link ENTRY_BYTES} plus the size of its key and metadata. */
const MAX_BYTES = 8 * 1024 * 1024;
const ENTRY_BYTES = 400;
/** Maximum number of attempts to read the metadata, if the file is replaced during each attempt. */
const MAX_ATTEMPTS = 10;

/** Read of a sidecar file that is in flight. All lookups of the key share it. */
interface PendingRead {
  result: Promise<UploadMetadata | undefined> | undefined;
  /**
   * Whether the file was replaced after the read had begun. The result is then used only for lookups that wait already,
   * and is not cached.
   */
  isExpired: boolean;
}

interface CachedMetadata {
  readonly body: BodyIdentity;
  readonly metadata: UploadMetadata | undefined;
  /** Number of bytes that the entry counts towards {@link MAX_BYTES}. */
  readonly bytes: number;
  /** Time of the last comparison with the file, by `performance.now()`. */
  readonly checkedAt: number;
}

/**
 * Cache of the metadata of artifacts. A lookup is synchronous if the store has no metadata at all, or if the key was
 * compared with its file within the last second.
 */
export class MetadataLookups implements FileHolder {
  readonly #prefix: string;
  readonly #sidecars: Sidecars;
  /** Entries by key, the least recently used one first. */
  readonly #cache = new Map<string, CachedMetadata>();
  readonly #pending = new Map<string, PendingRead>();
  #bytes = 0;
  #hasMetadata: boolean;
  #existenceCheckedAt = performance.now();

  /**
   * @param prefix path of the store's directory with a slash at the end
   * @param hasMetadata whether the store has sidecar files
   */
  constructor(prefix: string, sidecars: Sidecars, hasMetadata: boolean) {
    this.#prefix = prefix;
    this.#sidecars = sidecars;
    this.#hasMetadata = hasMetadata;
  }

  /**
   * Returns the metadata of the file at `path`, or undefined if it has none. Returns a promise if the sidecar file has
   * to be read.
   *
   * @throws HotblobError `ERR_HOTBLOB_CORRUPT`
   * @throws the error of the system call
   */
  get(key: string, path: string): UploadMetadata | undefined | Promise<UploadMetadata | undefined> {
    if (!this.#hasMetadata) {
      if (performance.now() - this.#existenceCheckedAt >= REVALIDATE_AFTER_MS) void this.#checkExistence();
      return undefined;
    }
    const cached = this.#cache.get(key);
    if (cached !== undefined && performance.now() - cached.checkedAt < REVALIDATE_AFTER_MS) {
      this.#cache.delete(key);
      this.#cache.set(key, cached);
      return cached.metadata;
    }
    let pending = this.#pending.get(key);
    if (pending === undefined) {
      pending = { isExpired: false, result: undefined };
      this.#pending.set(key, pending);
      pending.result = this.#read(key, path, pending).finally(() => {
        if (pending?.isExpired === false) this.#pending.delete(key);
      });
    }
    return pending.result;
  }

  /** Resolves to the metadata of several files, for a listing. Corrupt metadata is left out. Does not use the cache. */
  async readAll(files: readonly { readonly key: string }[]): Promise<(UploadMetadata | undefined)[]> {
    if (!this.#hasMetadata) return [];
    const read = async (key: string): Promise<UploadMetadata | undefined> => {
      const body = await identityAt(this.#prefix + key);
      return body && this.#sidecars.read(key, body);
    };
    return Promise.all(files.map(({ key }) => read(key).catch(() => undefined)));
  }

  /** Announces that a sidecar file is about to be written. From this call on, lookups read sidecar files. */
  enable(): void {
    this.#hasMetadata = true;
  }

  /** Drops the cached entry and the pending read of `key`, because its file was replaced or deleted. */
  expire(key: string): void {
    const pending = this.#pending.get(key);
    if (pending !== undefined) pending.isExpired = true;
    this.#pending.delete(key);
    this.#remove(key);
  }

  /** Like {@link expire}, for a file that another process has replaced or deleted. */
  releaseFile(path: string): Promise<void> | undefined {
    if (!path.startsWith(this.#prefix)) return undefined;
    this.expire(path.slice(this.#prefix.length));
    return this.#hasMetadata ? undefined : this.#checkExistence();
  }

  /** Checks whether another process has written the first sidecar file. */
  async #checkExistence(): Promise<void> {
    this.#existenceCheckedAt = performance.now();
    this.#hasMetadata ||= await this.#sidecars.exist();
  }

  async #read(key: string, path: string, pending: PendingRead): Promise<UploadMetadata | undefined> {
    let checkedAt = performance.now();
    let body = await identityAt(path);
    for (let attempt = 1; body !== undefined; attempt++) {
      const cached = this.#cache.get(key);
      const metadata =
        cached !== undefined && isSameBody(cached.body, body) ? cached.metadata : await this.#sidecars.read(key, body);
      if (metadata !== undefined || attempt === MAX_ATTEMPTS) {
        if (!pending.isExpired) this.#set(key, body, metadata, checkedAt);
        return metadata;
      }
      // A sidecar file is removed after its body was replaced. If there is no sidecar file, the body may have been
      // replaced since.
      checkedAt = performance.now();
      const current = await identityAt(path);
      if (current !== undefined && isSameBody(current, body)) {
        if (!pending.isExpired) this.#set(key, body, undefined, checkedAt);
        return undefined;
      }
      body = current;
    }
    // A missing file is not cached, because another process may put an artifact with metadata at this path at any time.
    return undefined;
  }

  #set(key: string, body: BodyIdentity, metadata: UploadMetadata | undefined, checkedAt: number): void {
    this.#remove(key);
    const bytes = ENTRY_BYTES + 2 * key.length + 2 * (metadata === undefined ? 0 : JSON.stringify(metadata).length);
    this.#cache.set(key, { body, metadata, bytes, checkedAt });
    this.#bytes += bytes;
    for (const oldest of this.#cache.keys()) {
      if (this.#bytes <= MAX_BYTES) break;
      this.#remove(oldest);
    }
  }

  #remove(key: string): void {
    this.#bytes -= this.#cache.get(key)?.bytes ?? 0;
    this.#cache.delete(key);
  }
}
