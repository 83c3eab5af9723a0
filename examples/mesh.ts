// Three nodes with an upstream, each a process with its own directory. An upload to one node is available on all of them: on a
// miss, a node downloads the artifact from the upstream and keeps it. If a node is killed, clients can use another one.
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

/** Starts the upstream and the nodes, and stops them on SIGTERM or SIGINT. */
async function orchestrate(): Promise<void> {
  const children = new Map<string, ChildProcess>();
  const start = async (child: string, ...rest: string[]): Promise<string> => {
    const process = fork(fileURLToPath(import.meta.url), [child, ...rest]);
    children.set(child, process);
    process.once('exit', (code, signal) => {
      children.delete(child);
      console.log(`${child} exited (${signal ?? code})`);
    });
    const [url] = await once(process, 'message');
    console.log(`${child} listening on ${url} (process ${process.pid})`);
    return url;
  };

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    // This process exits after its last child.
    process.on(signal, () => {
      for (const child of children.values()) child.kill('SIGTERM');
    });
  }
  const upstream = await start('upstream');
  for (let number = 1; number <= NODES; number++) await start(`node-${number}`, upstream);
}

/** Serves a directory. A node also has a tiered store: it downloads misses from the upstream over one HTTP/2 session. */
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
  // A terminal sends SIGINT to all processes. The parent handles it and sends SIGTERM.
  process.on('SIGINT', () => {});
  process.once('disconnect', () => process.exit());
}
