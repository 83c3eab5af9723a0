import type { UploadMetadata } from '../../contract/artifact.js';
import { type BodyIdentity, identityAt, isSameBody, type Sidecars } from './metadata.js';

/** What is known of a body is compared with what is at its path at most this often, as with open files. */
const CHECK_INTERVAL_MS = 1000;
/** What is known may take so much, with {@link ENTRY_BYTES} for each body. */
const MAX_BYTES = 8 * 1024 * 1024;
const ENTRY_BYTES = 400;
/** So often a body is looked at again that is replaced meanwhile. */
const ATTEMPTS = 10;

/** A look that is under way. */
interface Look {
  found: Promise<UploadMetadata | undefined> | undefined;
  /** It may have seen the body before the present one, so that it is only for those who have asked already. */
  isExpired: boolean;
}

interface Known {
  readonly body: BodyIdentity;
  readonly metadata: UploadMetadata | undefined;
  /** What it takes. */
  readonly bytes: number;
  /** In milliseconds of `performance.now()`. */
  readonly checkedAt: number;
}

/**
 * What is said about the bodies of a directory, as lookups want it: at once where nothing was ever said about any of them,
 * or where this one was looked at a moment ago.
 */
export class MetadataLookups {
  readonly #sidecars: Sidecars;
  /** What was used longest ago comes first. */
  readonly #known = new Map<string, Known>();
  readonly #looking = new Map<string, Look>();
  #bytes = 0;
  #isUsed: boolean;
  #askedAt = performance.now();

  /** @param isUsed whether anything was ever said */
  constructor(sidecars: Sidecars, isUsed: boolean) {
    this.#sidecars = sidecars;
    this.#isUsed = isUsed;
  }

  /**
   * What is said about the body of `key` at `path`. A promise where nobody knows yet.
   *
   * @throws HotblobError `ERR_HOTBLOB_CORRUPT`; else the error of the system
   */
  get(key: string, path: string): UploadMetadata | undefined | Promise<UploadMetadata | undefined> {
    if (!this.#isUsed) {
      this.#askAgain();
      return undefined;
    }
    const known = this.#known.get(key);
    if (known !== undefined && performance.now() - known.checkedAt < CHECK_INTERVAL_MS) {
      this.#known.delete(key);
      this.#known.set(key, known);
      return known.metadata;
    }
    let look = this.#looking.get(key);
    if (look === undefined) {
      look = { isExpired: false, found: undefined };
      this.#looking.set(key, look);
      look.found = this.#look(key, path, look).finally(() => {
        if (look?.isExpired === false) this.#looking.delete(key);
      });
    }
    return look.found;
  }

  /** Something is about to be said about a body: from now on lookups look. */
  begin(): void {
    this.#isUsed = true;
  }

  /** The body of `key` is another one now. */
  expire(key: string): void {
    const look = this.#looking.get(key);
    if (look !== undefined) look.isExpired = true;
    this.#looking.delete(key);
    this.#forget(key);
  }

  /** Another process may have been the first to say something. Nobody waits for the answer. */
  #askAgain(): void {
    const now = performance.now();
    if (now - this.#askedAt < CHECK_INTERVAL_MS) return;
    this.#askedAt = now;
    void this.#sidecars.exist().then((exist) => {
      this.#isUsed ||= exist;
    });
  }

  async #look(key: string, path: string, look: Look): Promise<UploadMetadata | undefined> {
    let checkedAt = performance.now();
    let body = await identityAt(path);
    for (let attempt = 1; body !== undefined; attempt++) {
      const known = this.#known.get(key);
      const metadata =
        known !== undefined && isSameBody(known.body, body) ? known.metadata : await this.#sidecars.read(key, body);
      if (metadata !== undefined || attempt === ATTEMPTS) {
        if (!look.isExpired) this.#keep(key, body, metadata, checkedAt);
        return metadata;
      }
      // It goes with its body: without it, that may have been replaced since.
      checkedAt = performance.now();
      const now = await identityAt(path);
      if (now !== undefined && isSameBody(now, body)) {
        if (!look.isExpired) this.#keep(key, body, undefined, checkedAt);
        return undefined;
      }
      body = now;
    }
    // A miss is not remembered: what another process puts there next may say something.
    return undefined;
  }

  #keep(key: string, body: BodyIdentity, metadata: UploadMetadata | undefined, checkedAt: number): void {
    this.#forget(key);
    const bytes = ENTRY_BYTES + 2 * key.length + 2 * (metadata === undefined ? 0 : JSON.stringify(metadata).length);
    this.#known.set(key, { body, metadata, bytes, checkedAt });
    this.#bytes += bytes;
    for (const oldest of this.#known.keys()) {
      if (this.#bytes <= MAX_BYTES) break;
      this.#forget(oldest);
    }
  }

  #forget(key: string): void {
    this.#bytes -= this.#known.get(key)?.bytes ?? 0;
    this.#known.delete(key);
  }
}
