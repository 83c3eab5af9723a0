import { createHash } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import { mkdir, open, opendir, readFile, rmdir, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { UploadMetadata } from '../../contract/artifact.js';
import { errnoCode, HotblobError } from '../../contract/errors.js';
import { decodeMetadata } from '../../contract/upload-metadata.js';
import { prefixOf, RESERVED_NAME, syncDirectories } from './paths.js';

/** Where it is kept what uploads have said about themselves, below the store's own directory. */
export const METADATA_NAME = 'metadata';
/** What is younger may belong to an upload whose body is about to be placed. */
const LEFTOVER_MS = 60 * 60 * 1000;

/** What tells the file of a body from all others that were at its path, and stays when it is renamed. */
export type BodyIdentity = Pick<BigIntStats, 'ino' | 'size' | 'mtimeNs'>;

export function isSameBody(a: BodyIdentity, b: BodyIdentity): boolean {
  return a.ino === b.ino && a.size === b.size && a.mtimeNs === b.mtimeNs;
}

/**
 * What uploads have said about themselves: a small file for each body, in a directory of two levels. Its name is made of
 * the hash of the key and the identity of the body. So it is there before its body is, and the rename of the body switches
 * from one to the other: no process ever takes it for that of a body which has come in another way.
 */
export class Sidecars {
  readonly #root: string;
  readonly #directory: string;

  /** @param root of the store */
  constructor(root: string) {
    this.#root = root;
    this.#directory = join(root, RESERVED_NAME, METADATA_NAME);
  }

  /** Whether any was ever written. */
  exist(): Promise<boolean> {
    return stat(this.#directory).then(
      () => true,
      () => false,
    );
  }

  /** Writes one to the disk. Nobody sees it before its body is in its place. @throws the error of the system */
  async write(key: string, body: BodyIdentity, metadata: Uint8Array): Promise<void> {
    const path = this.#pathOf(key, body);
    const directory = dirname(path);
    const text = Buffer.concat([Buffer.from(`${JSON.stringify(key)}\n`), metadata]);
    for (let attempt = 1; ; attempt++) {
      try {
        const created = await mkdir(directory, { recursive: true });
        // What was there is a leftover: the number of its inode was free.
        const handle = await open(path, 'w');
        try {
          await handle.writeFile(text);
          await handle.sync();
        } finally {
          await handle.close();
        }
        await syncDirectories(created === undefined ? [directory] : upTo(dirname(created), directory));
        return;
      } catch (error) {
        // A sweep has removed the directory, which was empty, between any two of these steps.
        if (errnoCode(error) !== 'ENOENT' || attempt === 10) throw error;
      }
    }
  }

  /**
   * What was said about a body; undefined where nothing was.
   *
   * @throws HotblobError `ERR_HOTBLOB_CORRUPT` for what is not what was written; else the error of the system
   */
  async read(key: string, body: BodyIdentity): Promise<UploadMetadata | undefined> {
    const path = this.#pathOf(key, body);
    const bytes = await readFile(path).catch((error: unknown) => {
      if (isGone(error)) return undefined;
      throw error;
    });
    if (bytes === undefined) return undefined;
    const metadata = decodeMetadata(bytes.subarray(bytes.indexOf('\n') + 1));
    if (keyIn(bytes) === key && metadata !== undefined) return metadata;
    throw new HotblobError('ERR_HOTBLOB_CORRUPT', `the metadata of '${key}' is damaged: ${path}`);
  }

  /** Removes that of a body which is gone, if there is one. Never rejects: what stays is found by {@link sweep}. */
  async remove(key: string, body: BodyIdentity): Promise<void> {
    await unlink(this.#pathOf(key, body)).catch(() => {});
  }

  /** Removes those whose bodies have gone in another way than by this store. Never rejects. */
  async sweep(isOver: () => boolean): Promise<void> {
    try {
      for (const first of await namesIn(this.#directory)) {
        for (const second of await namesIn(join(this.#directory, first))) {
          const directory = join(this.#directory, first, second);
          for (const name of await namesIn(directory)) {
            // One after the other: nobody waits for it, and readers of cold artifacts need the thread pool.
            if (isOver()) return;
            await this.#removeIfStale(join(directory, name));
          }
          await rmdir(directory).catch(() => {}); // it is not empty
        }
      }
    } catch {
      // a directory that is only read, or another process that does the same
    }
  }

  async #removeIfStale(path: string): Promise<void> {
    if ((await stat(path)).mtimeMs > Date.now() - LEFTOVER_MS) return;
    const key = keyIn(await readFile(path));
    const body = key === undefined ? undefined : await identityAt(prefixOf(this.#root) + key);
    if (key === undefined || body === undefined || this.#pathOf(key, body) !== path) await unlink(path);
  }

  #pathOf(key: string, { ino, size, mtimeNs }: BodyIdentity): string {
    const hash = createHash('sha256').update(key).digest('hex');
    const identity = [ino, size, mtimeNs].map((part) => part.toString(36)).join('-');
    return join(this.#directory, hash.slice(0, 2), hash.slice(2, 4), `${hash.slice(4)}-${identity}`);
  }
}

/** The identity of what is at a path, symlinks followed; undefined where there is nothing. */
export async function identityAt(path: string): Promise<BodyIdentity | undefined> {
  return stat(path, { bigint: true }).catch((error: unknown) => {
    if (isGone(error)) return undefined;
    throw error;
  });
}

function keyIn(bytes: Buffer): string | undefined {
  try {
    const key: unknown = JSON.parse(bytes.subarray(0, bytes.indexOf('\n')).toString());
    return typeof key === 'string' ? key : undefined;
  } catch {
    return undefined;
  }
}

async function namesIn(directory: string): Promise<string[]> {
  const names: string[] = [];
  try {
    for await (const entry of await opendir(directory)) names.push(entry.name);
  } catch (error) {
    if (!isGone(error)) throw error;
  }
  return names;
}

/** A directory and those above it, up to `highest`. */
function upTo(highest: string, directory: string): string[] {
  return directory.length <= highest.length ? [highest] : [directory, ...upTo(highest, dirname(directory))];
}

const GONE = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG']);

function isGone(error: unknown): boolean {
  return GONE.has(errnoCode(error) ?? '');
}
