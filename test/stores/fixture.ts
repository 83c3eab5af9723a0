import { chown, mkdtemp, readdir, readFile, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { ExecutionContext } from 'ava';
import type { FileArtifact } from '../../src/contract/artifact.js';
import { type ErrorCode, errnoCode } from '../../src/contract/errors.js';
import type { PutOptions, ReadWriteStore } from '../../src/contract/store.js';
import type { DirectoryStore } from '../../src/stores/directory/store.js';

type WritableStore = ReadWriteStore;

/** A directory of its own for a test, symlinks resolved. */
export async function temporaryDirectory(t: ExecutionContext): Promise<string> {
  const directory = await realpath(await mkdtemp(join(tmpdir(), 'hotblob-stores-')));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** A signal that nobody aborts. */
export const never = (): AbortSignal => new AbortController().signal;

/** Puts `content`, with its length announced unless `options` say otherwise. */
export function put(
  store: WritableStore,
  key: string,
  content: string | Uint8Array,
  options: Partial<PutOptions> = {},
) {
  const bytes = Buffer.from(content);
  return store.put(key, Readable.from(bytes.byteLength ? [bytes] : []), {
    signal: never(),
    size: bytes.byteLength,
    ...options,
  });
}

/** Where the artifact of a key is, in a directory where no upload has ever said anything about itself. */
export function located(store: DirectoryStore, key: string): FileArtifact {
  const artifact = store.get(key);
  if (artifact instanceof Promise) throw new Error(`${key} was not answered at once`);
  return artifact;
}

/** A body that gives its `chunks` and then fails with `end`, or for want of one stays silent. */
export function bodyOf(chunks: readonly Uint8Array[], end?: Error): Readable {
  const rest = [...chunks];
  return new Readable({
    read() {
      const chunk = rest.shift();
      if (chunk !== undefined) this.push(chunk);
      else if (end !== undefined) this.destroy(end);
    },
  });
}

/** Bytes that a wrong order or a gap would change. */
export function content(length: number, seed = 0): Buffer {
  const bytes = Buffer.alloc(length);
  for (let index = 0; index < length; index++) bytes[index] = (index * 31 + (index >> 8) * 7 + seed) & 0xff;
  return bytes;
}

/** Asserts that a file holds `expected`, without a page of bytes where it does not. */
export async function assertFile(t: ExecutionContext, path: string, expected: Buffer): Promise<void> {
  const bytes = await readFile(path);
  t.true(bytes.equals(expected), `${path}: ${bytes.byteLength} bytes, expected other ${expected.byteLength}`);
}

/** Everything below a directory but the store's own marker and folders; a directory has a slash at its end. */
export async function entriesBelow(directory: string): Promise<string[]> {
  const found: string[] = [];
  // Not readdir's own recursion: that follows symlinks on Node 20.
  const walk = async (below: string): Promise<void> => {
    const entries = await readdir(join(directory, below), { withFileTypes: true }).catch((error: unknown) => {
      // Gone since it was listed: stores sweep while tests look.
      if (below !== '' && errnoCode(error) === 'ENOENT') return [];
      throw error;
    });
    for (const entry of entries) {
      const name = below + entry.name;
      if (!OWN_ENTRIES.has(name)) found.push(entry.isDirectory() ? `${name}/` : name);
      if (entry.isDirectory()) await walk(`${name}/`);
    }
  };
  await walk('');
  return found.sort();
}

const OWN_ENTRIES = new Set(['.hotblob', '.hotblob/uploads', '.hotblob/immutable']);

/** What a refusal looks like. */
export const refusal = (code: ErrorCode, message?: RegExp) => ({
  name: 'HotblobError',
  code,
  ...(message && { message }),
});

/** Resolves once `condition` holds; the test's timeout is the limit. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 5));
}

/**
 * Runs `task` as a user to whom permissions apply: root becomes "nobody" meanwhile. Only for serial tests, because the
 * whole process changes.
 */
export async function unprivileged<T>(task: () => Promise<T>): Promise<T> {
  if (process.getuid?.() !== 0) return task();
  process.seteuid?.(NOBODY);
  try {
    return await task();
  } finally {
    process.seteuid?.(0);
  }
}

/** Gives a path to the user that {@link unprivileged} runs as. */
export async function giveToUnprivileged(path: string): Promise<void> {
  if (process.getuid?.() === 0) await chown(path, NOBODY, NOBODY);
}

const NOBODY = 65534;
