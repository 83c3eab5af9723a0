import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import test, { type ExecutionContext } from 'ava';
import { createHandler } from '../../src/handler/handler.js';
import { createMetrics, type Metrics } from '../../src/metrics/index.js';
import { directoryStore } from '../../src/stores/directory/store.js';
import { memoryStore } from '../../src/stores/memory.js';
import { tieredStore } from '../../src/stores/tiered/store.js';
import { upstreamStore } from '../../src/stores/upstream/store.js';
import { KIB, temporaryDirectory } from '../helpers/files.js';
import { testWith } from '../helpers/peers.js';
import { until } from '../helpers/poll.js';
import { openPort } from '../server/fixture.js';
import { content } from '../stores/fixture.js';

interface Panel {
  readonly title: string;
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[];
}

const DASHBOARD = new URL('../../examples/grafana.json', import.meta.url);
/** Longer than two scrape intervals, like `$__rate_interval`. */
const RATE_INTERVAL = '10s';

/** Starts a cache with an upstream, so that every metric has a value. */
async function startCache(t: ExecutionContext): Promise<{ port: number; metrics: Metrics }> {
  const far = createHandler({ store: memoryStore() });
  const { port: farPort } = await openPort(t, far);
  const remote = upstreamStore(`http://127.0.0.1:${farPort}`);
  const local = await directoryStore(await temporaryDirectory(t), { maxBytes: 64 * KIB });
  const store = await tieredStore({ local, remote });
  const handler = createHandler({ store });
  t.teardown(async () => {
    handler.close();
    far.close();
    await store.close();
    await local.close();
    await remote.close();
  });
  const { port, server } = await openPort(t, handler);
  const metrics = createMetrics({
    handlers: { cache: handler },
    servers: { main: server },
    stores: { tiers: store, local, remote },
  });
  return { port, metrics };
}

/** Causes downloads, uploads, misses and evictions until the test ends. */
function keepBusy(t: ExecutionContext, port: number): void {
  let isOver = false;
  const body = content(20 * KIB);
  const rounds = (async () => {
    for (let round = 0; !isOver; round++) {
      const url = `http://127.0.0.1:${port}/key-${round % 10}`;
      await fetch(url, { method: 'PUT', body });
      for (const path of [url, url, `${url}-missing`]) await (await fetch(path)).arrayBuffer();
    }
  })();
  t.teardown(async () => {
    isOver = true;
    await rounds;
  });
}

async function serveMetrics(t: ExecutionContext, metrics: Metrics): Promise<number> {
  const listener: RequestListener = async (_request, response) => {
    response.setHeader('content-type', metrics.contentType).end(await metrics.text());
  };
  const server = createServer((request, response) => void listener(request, response)).listen(0, '127.0.0.1');
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  await once(server, 'listening');
  // The address is an AddressInfo because the server listens on a port.
  return (server.address() as AddressInfo).port;
}

const prometheusTest = testWith(test, 'prometheus');

prometheusTest('promtool reports no problems with names, types and help texts', async (t) => {
  const { metrics } = await startCache(t);
  const promtool = spawn('promtool', ['check', 'metrics'], { stdio: ['pipe', 'pipe', 'pipe'] });
  promtool.stdin.end(await metrics.text());
  const [output, errors] = await Promise.all([text(promtool.stdout), text(promtool.stderr)]);
  t.is(`${output}${errors}`, '');
});

prometheusTest('every query of the Grafana dashboard returns data', async (t) => {
  const { port, metrics } = await startCache(t);
  keepBusy(t, port);
  const target = await serveMetrics(t, metrics);
  const directory = await temporaryDirectory(t);
  const config = join(directory, 'prometheus.yml');
  const scrape = { job_name: 'hotblob', static_configs: [{ targets: [`127.0.0.1:${target}`] }] };
  // JSON is valid YAML.
  await writeFile(config, JSON.stringify({ global: { scrape_interval: '1s' }, scrape_configs: [scrape] }));
  const api = await freePort();
  const prometheus = spawn(
    'prometheus',
    [
      `--config.file=${config}`,
      `--storage.tsdb.path=${join(directory, 'data')}`,
      `--web.listen-address=127.0.0.1:${api}`,
      '--log.level=warn',
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  const exited = once(prometheus, 'exit');
  t.teardown(async () => {
    prometheus.kill();
    await exited;
  });
  const query = async (expression: string): Promise<readonly Series[]> => {
    const parameters = new URLSearchParams({ query: expression });
    const response = await fetch(`http://127.0.0.1:${api}/api/v1/query?${parameters}`);
    const { status, error, data } = (await response.json()) as QueryResult; // the documented body
    if (status !== 'success') throw new Error(`${expression}: ${error}`);
    return data.result;
  };
  const count = async (expression: string): Promise<number> => (await query(expression).catch(() => [])).length;
  await until(
    'there are enough samples for a rate',
    async () => (await count('rate(hotblob_sent_bytes_total[10s]) > 0')) > 0,
  );

  const { panels } = JSON.parse(readFileSync(DASHBOARD, 'utf8')) as { readonly panels: readonly Panel[] }; // the file in this repository
  let queries = 0;
  for (const { title, targets = [] } of panels) {
    for (const { expr, legendFormat } of targets) {
      const expression = expr.replaceAll('$__rate_interval', RATE_INTERVAL).replaceAll('$instance', '.*');
      t.notRegex(expression, /\$/, `${title}: unknown variable`);
      const series = await query(expression);
      t.true(series.length > 0, `${title}: no data for ${expression}`);
      for (const [, label = ''] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) {
        t.true(
          series.every(({ metric }) => metric[label] !== undefined),
          `${title}: no label ${label}`,
        );
      }
      queries++;
    }
  }
  t.true(queries > 25, `${queries} queries`);
  const [hitRate] = await query(
    'sum(rate(hotblob_lookups_total{result="hit"}[10s])) / sum(rate(hotblob_lookups_total[10s]))',
  );
  t.true(
    Math.abs(Number(hitRate?.value[1]) - 2 / 3) < 0.05,
    `expected two hits in three lookups, received ${hitRate?.value[1]}`,
  );
});

interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [number, string];
}

interface QueryResult {
  readonly status: string;
  readonly error?: string;
  readonly data: { readonly result: readonly Series[] };
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  // The address is an AddressInfo because the server listens on a port.
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
