// Express in one process per core. The processes share a port, and their statistics add up. A process that ends is replaced, and
// SIGHUP restarts them one by one.
import express from 'express';
import { createHandler } from 'hotblob';
import { clusterStats, runProcesses, sharedStore } from 'hotblob/cluster';
import { createMetrics } from 'hotblob/metrics';
import { createServer } from 'hotblob/server';

const { info } = await runProcesses(
  { processes: 'max', shutdownTimeoutMs: 30_000 },
  async ({ processes, listenOptions }) => {
    const store = await sharedStore(process.env.DIR ?? './artifacts', { kind: 'directory' });
    const handler = createHandler({ store, mountPath: '/cache', processes });
    const app = express();
    const server = createServer(app, { handler, processes });

    const { handlers, servers, stores } = clusterStats({
      handlers: { cache: handler },
      servers: { main: server },
      stores: { main: store },
    });
    const metrics = createMetrics({ handlers, servers, stores });
    app.get(
      '/metrics',
      async (_request, response) => void response.type(metrics.contentType).send(await metrics.text()),
    );

    await server.listen(await listenOptions({ port: Number(process.env.PORT ?? 8080), host: '127.0.0.1' }));
    return {
      info: server.address(),
      async close(reason) {
        await server.close({ timeoutMs: 30_000, stopListening: reason === 'replaced' });
        handler.close();
        await store.close();
      },
    };
  },
);

// Only the parent gets here, when all processes listen.
const { port } = info as { port: number };
console.log(`listening on http://127.0.0.1:${port}`);
