import http from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import { type Server, withServers } from './children.js';
import type { BenchContext } from './context.js';
import { wrk } from './load.js';
import { comparison, interleaved, type Sample, type Samples } from './rounds.js';
import type { Contender } from './server.js';
import type { Line } from './table.js';

const NAME = '4KiB';
/** Two processes of the same program differ by up to 6%, so ratios near 1 need several processes of each. */
const STARTS = 6;
const ROUNDS = 4;
const ROUND_SECONDS = 1;
const SCRAPE_MS = 1000;
const MAP_MS = 5000;
const TARGETS = { metrics: 0.98, page: 0.95 } as const;

type Monitoring = keyof typeof TARGETS;

/** Measures the cost of a Prometheus scrape per second, and of an open dashboard, compared with an unmonitored handler. */
export async function monitoring(context: BenchContext): Promise<Line[]> {
  const lines: Line[] = [];
  for (const endpoint of ['metrics', 'page'] as const) {
    const workload = `HTTP/1.1, hot, 4 KiB, ${endpoint === 'metrics' ? 'one scrape per second' : 'dashboard open'}`;
    context.progress(workload);
    const common = { protocol: 'h1', directory: context.hotDirectory, names: [NAME] } as const;
    const configs = [
      { ...common, contender: 'hotblob', monitoring: endpoint } as const,
      { ...common, contender: 'unmonitored' } as const,
    ];
    const samples = new Map<Contender, Sample[]>(configs.map(({ contender }) => [contender, []]));
    for (let start = 0; start < (context.isQuick ? 1 : STARTS); start++) {
      const some = await withServers(configs, (servers) => monitoredRounds(servers, endpoint));
      for (const [contender, rounds] of some) samples.get(contender)?.push(...rounds);
    }
    const line = comparison(samples, {
      workload,
      figure: 'requests/s',
      against: 'unmonitored',
      atLeast: TARGETS[endpoint],
      byMedian: true,
      remark: '',
    });
    lines.push(line);
  }
  return lines;
}

async function monitoredRounds(servers: readonly Server[], endpoint: Monitoring): Promise<Samples> {
  const stop = new AbortController();
  const [ours] = servers;
  const client = ours && (endpoint === 'metrics' ? scrape(ours, stop.signal) : openPage(ours, stop.signal));
  try {
    return await interleaved(servers, ROUNDS, (server) => wrk(server.url(NAME), 16, ROUND_SECONDS));
  } finally {
    stop.abort();
    await client;
  }
}

async function scrape(server: Server, signal: AbortSignal): Promise<void> {
  await repeatedly(SCRAPE_MS, signal, () => fetch(server.url('metrics')));
}

/** Makes the requests of the dashboard page: its event stream, and the residency map at intervals. */
async function openPage(server: Server, signal: AbortSignal): Promise<void> {
  http
    .get(server.url('_hotblob/events'), { signal }, (response) => response.on('error', () => {}).resume())
    .on('error', () => {});
  await repeatedly(MAP_MS, signal, () => fetch(server.url('_hotblob/residency.json')));
}

async function repeatedly(milliseconds: number, signal: AbortSignal, send: () => Promise<Response>): Promise<void> {
  while (!signal.aborted) {
    await (await send()).text();
    await wait(milliseconds, undefined, { signal }).catch(() => {});
  }
}
