import http from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import { type Server, withServers } from './children.js';
import type { BenchContext } from './context.js';
import { wrk } from './load.js';
import { comparison, interleaved } from './rounds.js';
import type { Line } from './table.js';

const NAME = '4KiB';
/** Many and short: ratios near 1 need it on a machine that others use as well. */
const ROUNDS = 15;
const ROUND_SECONDS = 1;
const SCRAPE_MS = 1000;
const MAP_MS = 5000;
const TARGETS = { metrics: 0.98, page: 0.95 } as const;

/** What it costs that somebody looks: Prometheus, each second, and the page, beside a handler that nobody looks at. */
export async function watched(context: BenchContext): Promise<Line[]> {
  const lines: Line[] = [];
  for (const watch of ['metrics', 'page'] as const) {
    const workload = `HTTP/1.1, hot, 4 KiB, ${watch === 'metrics' ? 'scraped each second' : 'with the page open'}`;
    context.progress(workload);
    const common = { protocol: 'h1', directory: context.hotDirectory, names: [NAME] } as const;
    const configs = [
      { ...common, contender: 'hotblob', watch } as const,
      { ...common, contender: 'unwatched' } as const,
    ];
    const line = await withServers(configs, async (servers) => {
      const looking = new AbortController();
      const [ours] = servers;
      const looked = ours && (watch === 'metrics' ? scrape(ours, looking.signal) : openPage(ours, looking.signal));
      try {
        const rounds = context.isQuick ? 3 : ROUNDS;
        const samples = await interleaved(servers, rounds, (server) => wrk(server.url(NAME), 16, ROUND_SECONDS));
        return comparison(samples, {
          workload,
          figure: 'requests/s',
          against: 'unwatched',
          atLeast: TARGETS[watch],
          byMedian: true,
          remark: '',
        });
      } finally {
        looking.abort();
        await looked;
      }
    });
    lines.push(line);
  }
  return lines;
}

async function scrape(server: Server, signal: AbortSignal): Promise<void> {
  await repeatedly(SCRAPE_MS, signal, () => fetch(server.url('metrics')));
}

/** As the page does: its events, and now and then its map. */
async function openPage(server: Server, signal: AbortSignal): Promise<void> {
  http
    .get(server.url('_hotblob/events'), { signal }, (response) => response.on('error', () => {}).resume())
    .on('error', () => {});
  await repeatedly(MAP_MS, signal, () => fetch(server.url('_hotblob/residency.json')));
}

async function repeatedly(milliseconds: number, signal: AbortSignal, ask: () => Promise<Response>): Promise<void> {
  while (!signal.aborted) {
    await (await ask()).text();
    await wait(milliseconds, undefined, { signal }).catch(() => {});
  }
}
