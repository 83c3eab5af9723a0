import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { chown, lstat, mkdtemp, readdir, readFile, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { ExecutionContext } from 'ava';
import type { FileArtifact } from '../../src/contract/artifact.js';
import { type ErrorCode, errnoCode } from '../../src/contract/errors.js';
import type { PutOptions, ReadWriteStore } from '../../src/contract/store.js';
import type { DirectoryStore } from '../../src/stores/directory/store.js';
import { EVENT_CHANNEL, type EventReport } from '../../src/util/report-event.js';

/** Creates a directory for one test and returns its path, symbolic links resolved. */
export async function temporaryDirectory(t: ExecutionContext): Promise<string> {
  const directory = await realpath(await mkdtemp(join(tmpdir(), 'hotblob-stores-')));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** Returns a signal that never aborts. */
export const never = (): AbortSignal => new AbortController().signal;

/** Uploads `content`. Announces its length unless `options` has another `size`. */
export function put(
  store: ReadWriteStore,
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

/** Returns the artifact under `key`. Fails if the lookup is not synchronous. */
export function located(store: DirectoryStore, key: string): FileArtifact {
  const artifact = store.get(key);
  if (artifact instanceof Promise) throw new Error(`expected a synchronous lookup of ${key}`);
  return artifact;
}

/** Collects the details of the events `artifact corrupt` that name a path below `directory`, until the test ends. */
export function corruptEvents(t: ExecutionContext, directory: string): string[] {
  const details: string[] = [];
  const listen = (message: unknown): void => {
    const report = message as EventReport; // published by reportEvent()
    if (report.event === 'artifact corrupt' && report.details.includes(directory)) details.push(report.details);
  };
  subscribe(EVENT_CHANNEL, listen);
  t.teardown(() => unsubscribe(EVENT_CHANNEL, listen));
  return details;
}

/** Returns a body that emits `chunks` and then fails with `end`. Without `end` it stays open and emits nothing more. */
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

/** Returns test bytes. A missing or misplaced chunk changes them. */
export function content(length: number, seed = 0): Buffer {
  const bytes = Buffer.alloc(length);
  for (let index = 0; index < length; index++) bytes[index] = (index * 31 + (index >> 8) * 7 + seed) & 0xff;
  return bytes;
}

/** Asserts that a file holds `expected`. The failure message contains no file contents. */
export async function assertFile(t: ExecutionContext, path: string, expected: Buffer): Promise<void> {
  const bytes = await readFile(path);
  t.true(
    bytes.equals(expected),
    `${path}: expected other bytes (${expected.byteLength}), received ${bytes.byteLength}`,
  );
}

/** Lists everything below a directory except the store's marker file and folders. Names of directories end with a slash. */
export async function entriesBelow(directory: string): Promise<string[]> {
  const found: string[] = [];
  // The option `recursive` of readdir follows symbolic links on Node 20.
  const walk = async (below: string): Promise<void> => {
    const entries = await readdir(join(directory, below), { withFileTypes: true }).catch((error: unknown) => {
      // Removed since it was listed: a store may sweep at the same time.
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

/** Returns the bytes that a directory takes on the disk, with everything below it. */
export async function diskUsage(directory: string): Promise<number> {
  const { blocks } = await lstat(directory).catch(ignoreMissing);
  const names = await readdir(directory).catch((error: unknown) => {
    if (['ENOTDIR', 'ENOENT'].includes(errnoCode(error) ?? '')) return [];
    throw error;
  });
  const below = await Promise.all(names.map((name) => diskUsage(join(directory, name))));
  return below.reduce((sum, bytes) => sum + bytes, blocks * 512);
}

function ignoreMissing(error: unknown): { readonly blocks: number } {
  if (errnoCode(error) === 'ENOENT') return { blocks: 0 };
  throw error;
}

const OWN_ENTRIES = new Set(['.hotblob', '.hotblob/uploads', '.hotblob/immutable', '.hotblob/last-uses']);

/** Returns the expectation for an error with `code`. */
export const refusal = (code: ErrorCode, message?: RegExp) => ({
  name: 'HotblobError',
  code,
  ...(message && { message }),
});

/** Resolves when `condition` holds. Limited by the timeout of the test. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 5));
}

/**
 * Runs `task` as a user without privileges: root switches to "nobody", because file permissions do not apply to root. For
 * serial tests only, because the switch affects the whole process.
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

/** Makes the user of {@link unprivileged} the owner of a path. */
export async function giveToUnprivileged(path: string): Promise<void> {
  if (process.getuid?.() === 0) await chown(path, NOBODY, NOBODY);
}

const NOBODY = 65534;
