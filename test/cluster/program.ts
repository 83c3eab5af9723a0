// Program of run-processes.test.ts: a server of node:http in several processes. The first argument is a JSON object with options.
import cluster from 'node:cluster';
import { subscribe } from 'node:diagnostics_channel';
import { closeSync, existsSync, openSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo, ListenOptions } from 'node:net';
import { nodeListener } from '../../src/adapters/node.js';
import { clusterStats, runProcesses } from '../../src/cluster/index.js';
import { createHandler } from '../../src/handler/handler.js';
import { memoryStore } from '../../src/stores/memory.js';
import { EVENT_CHANNEL } from '../../src/util/report-event.js';

/** Options of the program. */
export interface ProgramOptions {
  readonly processes: number;
  /** `start`: the function of the program throws. `info`: it returns a value that cannot be sent to the parent. */
  readonly fail?: 'start' | 'info';
  /** If this file exists, a process waits for ever before it calls runProcesses. */
  readonly hold?: string;
  /** Options of further servers. Each responds with its index, and the process notifies the parent of their addresses. */
  readonly others?: readonly ListenOptions[];
}

const { processes, fail, hold, others = [] } = JSON.parse(process.argv[2] ?? '{}') as ProgramOptions;

if (cluster.isWorker && hold !== undefined && existsSync(hold)) {
  print({ held: process.pid });
  await new Promise((resolve) => setTimeout(resolve, 2 ** 31 - 1));
}
if (cluster.isPrimary) process.once('SIGUSR2', exhaustDescriptors);

const running = await runProcesses(
  {
    processes,
    shutdownTimeoutMs: 3_600_000,
    onNotice: (data, pid) => print({ notice: data, pid }),
    onProblem: (problem) => print({ problem }),
  },
  async (self) => {
    if (fail === 'start') throw Object.assign(new RangeError('no such disk'), { code: 'ENODISK' });
    const handler = createHandler({ store: memoryStore(), mountPath: '/cache', processes: self.processes });
    let isBroken = false;
    const store = {
      stats() {
        if (isBroken) throw new Error('the store is broken');
        return {};
      },
    };
    const stats = clusterStats({ handlers: { cache: handler }, stores: { main: store } });
    subscribe(EVENT_CHANNEL, (message) => self.notify({ event: Object(message).event }));
    const cache = nodeListener(handler);
    const server = http.createServer((request, response) => {
      if (request.url === '/break') {
        isBroken = true;
        response.end();
      } else if (request.url === '/totals')
        stats.processes.totals().then(
          (totals) => response.end(JSON.stringify(totals)),
          (error: Error) => response.writeHead(500).end(error.message),
        );
      else if (request.url === '/sums')
        Promise.resolve(stats.handlers.cache.stats()).then(
          (sums) => response.end(JSON.stringify(sums)),
          (error: Error) => response.writeHead(503).end(error.message),
        );
      else cache(request, response);
    });
    const options = await self.listenOptions({ port: 0, host: '127.0.0.1' });
    await new Promise<void>((resolve) => server.listen(options, resolve));
    const further: http.Server[] = [];
    for (const [index, other] of others.entries()) {
      const each = http.createServer((_request, response) => response.end(String(index)));
      const shared = await self.listenOptions(other);
      await new Promise<void>((resolve) => each.listen(shared, resolve));
      further.push(each);
    }
    if (further.length > 0) self.notify({ addresses: further.map((each) => each.address()) });
    else self.notify({ isFirst: self.isFirst, isAlone: self.isAlone });
    return {
      info: fail === 'info' ? () => {} : (server.address() as AddressInfo).port, // an AddressInfo because the server listens on a port
      async close() {
        const closed = [server, ...further].map((each) => new Promise<void>((resolve) => each.close(() => resolve())));
        await Promise.all(closed);
      },
    };
  },
).catch((error: Error & { code?: string }) => {
  print({ error: error.message, name: error.name, code: error.code });
  process.exit(3);
});
process.on('SIGWINCH', async () => print({ restarted: await running.restart() }));
print({ port: running.info, pids: running.pids, sharing: running.sharing });

/** Opens files until the limit of descriptors is reached, and closes them at the next signal. */
function exhaustDescriptors(): void {
  const descriptors: number[] = [];
  try {
    for (;;) descriptors.push(openSync('/dev/null', 'r'));
  } catch (error) {
    process.once('SIGUSR2', () => {
      for (const descriptor of descriptors) closeSync(descriptor);
    });
    print({ exhausted: error instanceof Error && 'code' in error && error.code });
  }
}

function print(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
