import { lstat, opendir, unlink } from 'node:fs/promises';
import { errnoCode, HotblobError } from '../errors.js';
import type { Sidecars } from './directory-metadata.js';
import { isReserved, prefixOf, removeEmptyParents } from './directory-paths.js';
import { Recency } from './recency.js';

/** Room is made down to this part of the limit, so that not every upload has to scan. */
const LOW_WATERMARK = 0.9;
/** Files evicted per scan at most: it bounds the list of candidates, and the time that sorting them takes. */
const MAX_VICTIMS = 16_384;
/** Files looked at together. More would keep the readers of cold artifacts from the thread pool. */
const BATCH = 8;

interface StoredFile {
  readonly key: string;
  readonly bytes: number;
  /** Milliseconds since 1970. */
  readonly lastUse: number;
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
  readonly #recency = new Recency();
  /** At least what the directory holds, in bytes; undefined until it has been scanned. */
  #storedBytes: number | undefined;
  #queue: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(root: string, maxBytes: number, sidecars: Sidecars) {
    this.#root = root;
    this.#maxBytes = maxBytes;
    this.#sidecars = sidecars;
  }

  /** Counts a use of `key`. */
  touch(key: string): void {
    this.#recency.touch(key);
  }

  /** Finds out in the background what the directory holds. Unlinks nothing: a store that is only read never does. */
  measure(): void {
    this.#exclusively(async () => {
      this.#storedBytes = (await this.#scan()).bytes;
    }).catch(() => {}); // the first upload tries again, and reports it
  }

  /**
   * Makes room for `bytes` and then calls `place`, which puts a file of that size under `key` and resolves to the size of
   * the one that it replaced. One call at a time, so that neither the limit nor a count is ever wrong between two.
   *
   * @throws HotblobError `ERR_HOTBLOB_STORAGE_FULL` when files cannot be unlinked; else what the system or `place` throws
   */
  add<T extends { readonly replacedBytes: number }>(
    key: string,
    bytes: number,
    signal: AbortSignal,
    place: () => Promise<T>,
  ): Promise<T> {
    return this.#exclusively(async () => {
      signal.throwIfAborted();
      if (this.#storedBytes === undefined || this.#storedBytes + bytes > this.#maxBytes) await this.#makeRoom(bytes);
      const placed = await place();
      this.#storedBytes = (this.#storedBytes ?? 0) + bytes - placed.replacedBytes;
      this.#recency.touch(key);
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

  async #makeRoom(bytes: number): Promise<void> {
    for (;;) {
      const scan = await this.#scan();
      this.#storedBytes = scan.bytes;
      if (this.#storedBytes + bytes <= this.#maxBytes) return;
      let evicted = 0;
      for (const file of scan.oldest) {
        if (this.#storedBytes + bytes <= this.#maxBytes * LOW_WATERMARK) break;
        if (!(await this.#evict(file.key))) continue;
        evicted++;
        this.#storedBytes -= file.bytes;
      }
      if (this.#storedBytes + bytes <= this.#maxBytes) return;
      if (evicted === 0) {
        const message = `files that cannot be deleted take ${this.#storedBytes} of ${this.#maxBytes} bytes`;
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

  async #scan(): Promise<{ readonly bytes: number; readonly oldest: readonly StoredFile[] }> {
    let bytes = 0;
    const oldest: StoredFile[] = [];
    const keepOldest = (): void => {
      oldest.sort((a, b) => a.lastUse - b.lastUse);
      oldest.splice(MAX_VICTIMS);
    };
    for await (const files of this.#files()) {
      for (const file of files) bytes += file.bytes;
      oldest.push(...files);
      if (oldest.length >= 2 * MAX_VICTIMS) keepOldest();
    }
    keepOldest();
    return { bytes, oldest };
  }

  /** Every regular file but the store's own; no symlink is followed. */
  async *#files(): AsyncGenerator<StoredFile[]> {
    const prefix = prefixOf(this.#root);
    const directories = [''];
    for (let directory = directories.pop(); directory !== undefined; directory = directories.pop()) {
      let keys: string[] = [];
      for await (const entry of entriesOf(prefix + directory)) {
        if (this.#closed) return;
        const key = directory + entry.name;
        if (isReserved(key)) continue;
        if (entry.isDirectory()) directories.push(`${key}/`);
        if (entry.isFile() && keys.push(key) === BATCH) {
          yield await this.#look(keys);
          keys = [];
        }
      }
      yield await this.#look(keys);
    }
  }

  async #look(keys: readonly string[]): Promise<StoredFile[]> {
    const files = await Promise.all(keys.map((key) => this.#lookAt(key)));
    return files.filter((file) => file !== undefined);
  }

  async #lookAt(key: string): Promise<StoredFile | undefined> {
    try {
      const { size, atimeMs, mtimeMs } = await lstat(prefixOf(this.#root) + key);
      // A time that is still to come says nothing about the last use. (Date.now() has no fractions, these have.)
      const now = Date.now() + 1;
      const times = [atimeMs, mtimeMs].filter((time) => time <= now);
      return { key, bytes: size, lastUse: Math.max(this.#recency.lastUse(key), ...times) };
    } catch (error) {
      if (isGone(error)) return undefined;
      throw error;
    }
  }
}

async function* entriesOf(path: string) {
  try {
    yield* await opendir(path, { bufferSize: 256 });
  } catch (error) {
    // It has been removed meanwhile, or holds nothing of ours, such as a lost+found that we may not list.
    if (!isGone(error) && errnoCode(error) !== 'EACCES') throw error;
  }
}

function isGone(error: unknown): boolean {
  const code = errnoCode(error);
  return code === 'ENOENT' || code === 'ENOTDIR';
}
