import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import { nodeListener } from '../../src/adapters/node.js';
import { createHandler } from '../../src/handler/handler.js';
import { tuist } from '../../src/protocols/tuist/tuist.js';
import { directoryStore } from '../../src/stores/directory/store.js';

const OWN_FILE = fileURLToPath(import.meta.url);

/** Server in a child process that a test can kill. */
export interface Child {
  readonly url: string;
  kill(): Promise<void>;
}

/**
 * Serves the artifacts in the directory `store`, with the parts of uploads in `uploads`. With `uploadsBytes`, `uploads`
 * is a tmpfs of this size that exists only for the process.
 */
export async function startChild(
  t: ExecutionContext,
  store: string,
  uploads: string,
  uploadsBytes?: number,
): Promise<Child> {
  const serve = [process.execPath, '--import=tsx', OWN_FILE, store, uploads];
  const mount = 'mount -t tmpfs -o size="$1" tmpfs "$2" || exit 99; shift 2; exec "$@"';
  const unshare = ['unshare', process.getuid?.() === 0 ? '-m' : '-rm', 'sh', '-c', mount, 'sh'];
  const [command = '', ...args] =
    uploadsBytes === undefined ? serve : [...unshare, String(uploadsBytes), uploads, ...serve];
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => kill(child));
  const [line] = await Promise.race([once(child.stdout, 'data'), once(child, 'exit').then(() => [undefined])]);
  if (line === undefined) throw new Error('the server exited before it listened');
  return { url: `http://127.0.0.1:${Number(line)}`, kill: () => kill(child) };
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

const [, started, storeDirectory, uploadsDir] = process.argv;
if (started === OWN_FILE && storeDirectory !== undefined) {
  const store = await directoryStore(storeDirectory);
  const server = createServer(nodeListener(createHandler({ store, protocols: [tuist({ uploadsDir })] })));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // The address of a server that listens on a port is an AddressInfo.
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
}
