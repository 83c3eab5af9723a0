// node:cluster: one process per core. All processes share the page cache, and each one gets its share of the memory budget.
import cluster from 'node:cluster';
import { availableParallelism } from 'node:os';
import { createHandler, directoryStore } from 'hotblob';
import { createServer } from 'hotblob/server';

const processes = availableParallelism();

if (cluster.isPrimary) {
  for (let count = 0; count < processes; count++) cluster.fork();
  cluster.once('listening', (_worker, { port }) => console.log(`listening on http://127.0.0.1:${port}`));
  // The primary exits after its last worker.
  process.once('SIGTERM', () => {
    for (const worker of Object.values(cluster.workers ?? {})) worker?.process.kill('SIGTERM');
  });
} else {
  const store = await directoryStore(process.env.DIR ?? './artifacts');
  const handler = createHandler({ store, mountPath: '/cache', processes });
  const server = createServer(handler, { processes });
  await server.listen({ port: Number(process.env.PORT ?? 8080), host: '127.0.0.1' });
  process.once('SIGTERM', async () => {
    await server.close();
    cluster.worker?.disconnect();
  });
}
