import { lstat, unlink } from 'node:fs/promises';
import { HotblobError } from '../../contract/errors.js';
import type { StoreStats } from '../../contract/store.js';
import { TwoGenerationMap } from '../../util/two-generation-map.js';
import type { Sidecars } from './metadata.js';
import { prefixOf, removeEmptyParents } from './paths.js';
import { filesBelow, isGone, type StoredFile } from './walk.js';

/** Room is made down to this part of the limit, so that not every upload has to scan. */
const LOW_WATERMARK = 0.9;
/** Files evicted per scan at most: it bounds the list of candidates, and the time that sorting them takes. */
const MAX_VICTIMS = 16_384;
/** Keys in a generation of the map of last uses. With keys of 100 characters both generations take some 15 MB. */
const GENERATION_SIZE = 32_768;

/** What a directory holds, as far as one process knows. */
interface Holdings {
  artifacts: number;
  bytes: number;
}

interface Scan {
  readonly held: Holdings;
  /** The first to go comes first. */
  readonly oldest: readonly StoredFile[];
}

/**
 * Keeps the files of a directory within a number of bytes, by unlinking those that were used longest ago. Whoever has
 * one open can go on reading it.
 *
 * What the directory holds is known from a scan, plus what was put since. Other processes may put and delete as well:
 * each scan corrects that. A file's last use is the latest of what this process has seen, its modification and its
 * access time; with `relatime` that one is right to a day, which is what is left after a restart. What uploads have said
 * about themselves is not counted, and goes with their files.
 */
export class DirectoryEviction {
  readonly #root: string;
  readonly #maxBytes: number;
  readonly #sidecars: Sidecars;
  /**
   * When this process last used a key, in milliseconds since 1970. Bounded, because a lookup of a key that does not exist
   * counts as a use too.
   */
  readonly #uses = new TwoGenerationMap<string, number>(GENERATION_SIZE);
  #latestUse = 0;
  /** At least what the directory holds; undefined until it has been scanned. */
  #held: Holdings | undefined;
  /**
   * What was deleted since the last scan began. Not taken off what is held: whether the scan has seen it nobody knows, and the
   * limit must hold.
   */
  #deleted: Holdings = { artifacts: 0, bytes: 0 };
  #evicted = 0;
  #queue: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(root: string, maxBytes: number, sidecars: Sidecars) {
    this.#root = root;
    this.#maxBytes = maxBytes;
    this.#sidecars = sidecars;
  }

  /** Counts a use of `key`. */
  touch(key: string): void {
    // Strictly increasing, so that uses within one millisecond keep their order.
    this.#latestUse = Math.max(Date.now(), this.#latestUse + 0.001);
    this.#uses.set(key, this.#latestUse);
  }

  /** When a file was last used, in milliseconds since 1970. */
  lastUse(file: StoredFile): number {
    return Math.max(this.#uses.get(file.key) ?? 0, file.usedAt);
  }

  /** Counts a file of `bytes` that somebody has deleted. */
  forget(bytes: number): void {
    this.#deleted.artifacts++;
    this.#deleted.bytes += bytes;
  }

  /** What is known from the last scan, and from what has been put and deleted since. */
  stats(): StoreStats {
    const held = this.#held;
    const left = held && {
      artifacts: Math.max(0, held.artifacts - this.#deleted.artifacts),
      bytes: Math.max(0, held.bytes - this.#deleted.bytes),
    };
    return { ...left, maxBytes: this.#maxBytes, evicted: this.#evicted };
  }

  /** Finds out in the background what the directory holds. Unlinks nothing: a store that is only read never does. */
  measure(): void {
    this.#exclusively(async () => {
      await this.#scan();
    }).catch(() => {}); // the first upload tries again, and reports it
  }

  /**
   * Makes room for `bytes` and then calls `place`, which puts a file of that size under `key` and resolves to the size of
   * the one that it replaced, undefined for none. One call at a time, so that neither the limit nor a count is ever wrong between two.
   *
   * @throws HotblobError `ERR_HOTBLOB_STORAGE_FULL` when files cannot be unlinked; else what the system or `place` throws
   */
  add<T extends { readonly replacedBytes: number | undefined }>(
    key: string,
    bytes: number,
    signal: AbortSignal,
    place: () => Promise<T>,
  ): Promise<T> {
    return this.#exclusively(async () => {
      signal.throwIfAborted();
      let held = this.#held;
      if (held === undefined || held.bytes + bytes > this.#maxBytes) {
        held = await this.#makeRoom(bytes);
      }
      const placed = await place();
      held.bytes += bytes - (placed.replacedBytes ?? 0);
      if (placed.replacedBytes === undefined) held.artifacts++;
      this.touch(key);
      return placed;
    });
  }

  /** Ends the scan that {@link measure} began; waits for what {@link add} does. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#queue;
  }

  #exclusively<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(task);
    this.#queue = result.catch(() => {});
    return result;
  }

  async #makeRoom(bytes: number): Promise<Holdings> {
    for (;;) {
      const { held, oldest } = await this.#scan();
      if (held.bytes + bytes <= this.#maxBytes) return held;
      let evicted = 0;
      for (const file of oldest) {
        if (held.bytes + bytes <= this.#maxBytes * LOW_WATERMARK) break;
        if (!(await this.#evict(file.key))) continue;
        evicted++;
        held.artifacts--;
        held.bytes -= file.bytes;
      }
      this.#evicted += evicted;
      if (held.bytes + bytes <= this.#maxBytes) return held;
      if (evicted === 0) {
        const message = `files that cannot be deleted take ${held.bytes} of ${this.#maxBytes} bytes`;
        throw new HotblobError('ERR_HOTBLOB_STORAGE_FULL', message);
      }
    }
  }

  async #evict(key: string): Promise<boolean> {
    const path = prefixOf(this.#root) + key;
    try {
      const body = await lstat(path, { bigint: true });
      await unlink(path);
      await this.#sidecars.remove(key, body);
    } catch (error) {
      return isGone(error);
    }
    await removeEmptyParents(this.#root, path);
    return true;
  }

  /** Finds out what is held, and which of it was used longest ago. */
  async #scan(): Promise<Scan> {
    this.#deleted = { artifacts: 0, bytes: 0 };
    const held = { artifacts: 0, bytes: 0 };
    const oldest: StoredFile[] = [];
    const keepOldest = (): void => {
      oldest.sort((a, b) => a.usedAt - b.usedAt);
      oldest.splice(MAX_VICTIMS);
    };
    for await (const files of filesBelow(this.#root, () => this.#closed)) {
      for (const file of files) {
        held.artifacts++;
        held.bytes += file.bytes;
        oldest.push({ ...file, usedAt: this.lastUse(file) });
      }
      if (oldest.length >= 2 * MAX_VICTIMS) keepOldest();
    }
    keepOldest();
    this.#held = held;
    return { held, oldest };
  }
}
