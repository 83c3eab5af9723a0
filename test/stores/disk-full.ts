import { execFile } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';
import { loadBindings } from '../../src/page-cache/bindings.js';
import { OpenFiles } from '../../src/page-cache/open-files.js';
import { directoryStore } from '../../src/stores/directory/store.js';
import { content, entriesBelow, located, put, temporaryDirectory } from './fixture.js';

const OWN_FILE = fileURLToPath(import.meta.url);

// In its own mount namespace: the kernel unmounts the file system when the process ends, even if it is killed.
const NAMESPACES = process.getuid?.() === 0 ? '-m' : '-rm';
const MOUNT = 'mount -t tmpfs -o size=1m tmpfs "$1"';

/** Returns the result of {@link fillDisk} on a file system of 1 MiB. */
export async function onFullDisk(t: ExecutionContext): Promise<unknown> {
  const directory = await temporaryDirectory(t);
  const script = `${MOUNT} && exec "$2" --import=tsx "$3" "$1"`;
  const args = [NAMESPACES, 'sh', '-c', script, 'sh', directory, process.execPath, OWN_FILE];
  const { stdout } = await promisify(execFile)('unshare', args);
  return JSON.parse(stdout);
}

/** Uploads two artifacts that do not fit the disk together, then a small one, then one in place of a deleted file that is still open. */
async function fillDisk(directory: string): Promise<object> {
  const store = await directoryStore(directory);
  const bytes = content(600 * 1024);
  await put(store, 'first', bytes);
  const failure: unknown = await put(store, 'a/second', bytes).catch((reason: unknown) => reason);
  const entries = await entriesBelow(directory);
  await put(store, 'third', content(200 * 1024));
  const openFiles = new OpenFiles(loadBindings(), 10);
  for (const key of ['first', 'third']) (await openFiles.acquire(located(store, key)))?.release();
  const firstIsIntact = bytes.equals(await readFile(located(store, 'first').path));
  // As another process would: the store does not know.
  await rm(located(store, 'first').path);
  await put(store, 'fourth', content(700 * 1024));
  return {
    error: failure instanceof Error && {
      name: failure.name,
      code: 'code' in failure && failure.code,
      cause: failure.cause instanceof Error && 'code' in failure.cause && failure.cause.code,
    },
    entries,
    firstIsIntact,
    openFiles: openFiles.size,
    fourthIsStored: content(700 * 1024).equals(await readFile(located(store, 'fourth').path)),
    thirdIsStored: content(200 * 1024).equals(await readFile(located(store, 'third').path)),
  };
}

const [, started, directory] = process.argv;
if (started === OWN_FILE && directory !== undefined) process.stdout.write(JSON.stringify(await fillDisk(directory)));
