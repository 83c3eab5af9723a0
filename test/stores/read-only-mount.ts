import { execFile, execFileSync } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';
import { directoryStore } from '../../src/stores/directory/store.js';
import { segmentStore } from '../../src/stores/segments/store.js';
import { content, put, temporaryDirectory } from './fixture.js';

const OWN_FILE = fileURLToPath(import.meta.url);

// In its own mount namespace: the kernel unmounts the file system when the process ends, even if it is killed.
const NAMESPACES = process.getuid?.() === 0 ? '-m' : '-rm';

interface Result {
  /** Code and message of the error of opening the store for reading and writing. */
  readonly failure: string;
  readonly canPut: boolean;
  /** Kind of an artifact that was stored before. */
  readonly found: string | undefined;
}

/** Opens stores of each kind whose directories have become read-only mounts. */
export async function onReadOnlyMount(t: ExecutionContext): Promise<Record<string, Result>> {
  const args = [NAMESPACES, process.execPath, '--import=tsx', OWN_FILE, await temporaryDirectory(t)];
  const { stdout } = await promisify(execFile)('unshare', args);
  return JSON.parse(stdout) as Record<string, Result>;
}

async function openStores(parent: string): Promise<Record<string, Result>> {
  const results: Record<string, Result> = {};
  for (const [kind, open] of [
    ['directory', (dir: string, readOnly: boolean) => directoryStore(dir, { readOnly })],
    ['segments', (dir: string, readOnly: boolean) => segmentStore(dir, { readOnly })],
  ] as const) {
    const dir = join(parent, kind);
    const writer = await (kind === 'directory' ? directoryStore(dir) : segmentStore(dir));
    await put(writer, 'key', content(100_000));
    await writer.close();
    const mount = join(parent, `${kind}-mount`);
    await mkdir(mount);
    execFileSync('mount', ['--bind', dir, mount]);
    execFileSync('mount', ['-o', 'remount,ro,bind', mount]);
    const failure: unknown = await open(mount, false).catch((error: unknown) => error);
    const reader = await open(mount, true);
    results[kind] = {
      failure: failure instanceof Error && 'code' in failure ? `${failure.code}: ${failure.message}` : 'none',
      canPut: reader.put !== undefined,
      found: (await reader.get('key'))?.kind,
    };
    await reader.close();
  }
  return results;
}

const [, started, directory] = process.argv;
if (started === OWN_FILE && directory !== undefined) process.stdout.write(JSON.stringify(await openStores(directory)));
