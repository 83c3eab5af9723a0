import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';
import { directoryStore } from '../../src/stores/directory/store.js';
import { content, entriesBelow, located, put, temporaryDirectory } from './fixture.js';

const OWN_FILE = fileURLToPath(import.meta.url);

/** What {@link fill} saw on a file system of 1 MiB; undefined where none can be mounted. */
export async function onFullDisk(t: ExecutionContext): Promise<unknown> {
  const directory = await temporaryDirectory(t);
  // In a mount namespace of its own: what is mounted goes with the process, however that ends.
  const namespaces = process.getuid?.() === 0 ? '-m' : '-rm';
  const script = 'mount -t tmpfs -o size=1m tmpfs "$1" || exit 99; exec "$2" --import=tsx "$3" "$1"';
  const args = [namespaces, 'sh', '-c', script, 'sh', directory, process.execPath, OWN_FILE];
  try {
    const { stdout } = await promisify(execFile)('unshare', args);
    return JSON.parse(stdout);
  } catch (error) {
    if (
      error instanceof Error &&
      'stderr' in error &&
      /unshare|mount|ENOENT/.test(`${error.stderr} ${error.message}`)
    ) {
      t.log(error.message);
      return undefined;
    }
    throw error;
  }
}

/** Puts twice what fits half the disk and a little, then a little. */
async function fill(directory: string): Promise<object> {
  const store = await directoryStore(directory);
  const bytes = content(600 * 1024);
  await put(store, 'first', bytes);
  const error: unknown = await put(store, 'a/second', bytes).catch((reason: unknown) => reason);
  const entries = await entriesBelow(directory);
  await put(store, 'third', content(200 * 1024));
  return {
    refusedWith: error instanceof Error && {
      name: error.name,
      code: 'code' in error && error.code,
      cause: error.cause instanceof Error && 'code' in error.cause && error.cause.code,
    },
    entries,
    firstIsWhole: bytes.equals(await readFile(located(store, 'first').path)),
    nextIsStored: content(200 * 1024).equals(await readFile(located(store, 'third').path)),
  };
}

const [, started, directory] = process.argv;
if (started === OWN_FILE && directory !== undefined) process.stdout.write(JSON.stringify(await fill(directory)));
