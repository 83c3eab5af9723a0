// Three nodes that share an upstream, each a process with a directory of its own. What one is given, all have; what one is
// asked for and does not have, it fetches once. Kill one, and its clients go on with another.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createHandler, directoryStore, type Store, tieredStore, upstreamStore } from 'hotblob';
import { createServer } from 'hotblob/server';

const NODES = 3;
const dir = process.env.DIR ?? './artifacts';
const [name, upstreamUrl] = process.argv.slice(2);

if (name === undefined) await orchestrate();
else await serve(name, upstreamUrl);

/** Starts the upstream, then the nodes, and ends them when it is told to end. */
async function orchestrate(): Promise<void> {
  const children = new Map<string, ChildProcess>();
  const start = async (child: string, ...rest: string[]): Promise<string> => {
    const process = fork(fileURLToPath(import.meta.url), [child, ...rest]);
    children.set(child, process);
    process.once('exit', (code, signal) => {
      children.delete(child);
      console.log(`${child} has ended (${signal ?? code})`);
    });
    const [url] = await once(process, 'message');
    console.log(`${child} listens on ${url} (process ${process.pid})`);
    return url;
  };

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    // The process ends with the last of them.
    process.on(signal, () => {
      for (const child of children.values()) child.kill('SIGTERM');
    });
  }
  const upstream = await start('upstream');
  for (let number = 1; number <= NODES; number++) await start(`node-${number}`, upstream);
}

/** The upstream keeps what it is given; a node asks it for what it does not have, over one session of HTTP/2. */
async function serve(name: string, upstreamUrl: string | undefined): Promise<void> {
  const local = await directoryStore(join(dir, name));
  let store: Store = local;
  let remote: Store | undefined;
  if (upstreamUrl !== undefined) {
    remote = upstreamStore(upstreamUrl, { h2c: true });
    store = await tieredStore({ local, remote });
  }
  const server = createServer(createHandler({ store, mountPath: '/cache', processes: NODES + 1 }), {
    processes: NODES + 1,
  });
  await server.listen({ port: 0, host: '127.0.0.1' });
  const address = server.address();
  if (typeof address === 'object') process.send?.(`http://127.0.0.1:${address?.port}/cache`);

  const end = async (): Promise<void> => {
    await server.close();
    if (store !== local) await store.close?.();
    await remote?.close?.();
    await local.close();
    if (process.connected) process.disconnect();
  };
  process.once('SIGTERM', end);
  // From a terminal it reaches every process; the one that has started this one says what is to be done.
  process.on('SIGINT', () => {});
  process.once('disconnect', () => process.exit());
}
