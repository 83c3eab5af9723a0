import http from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import { type Server, withServers } from './children.js';
import type { BenchContext } from './context.js';
import { wrk } from './load.js';
import { comparison, interleaved, type Sample, type Samples } from './rounds.js';
import type { Contender } from './server.js';
import type { Line } from './table.js';

const NAME = '4KiB';
/** Two processes of the same program differ by up to 6 %, whatever is asked of them: ratios near 1 need several of each. */
const STARTS = 6;
const ROUNDS = 4;
const ROUND_SECONDS = 1;
const SCRAPE_MS = 1000;
const MAP_MS = 5000;
const TARGETS = { metrics: 0.98, page: 0.95 } as const;

type Watch = keyof typeof TARGETS;

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
    const samples = new Map<Contender, Sample[]>(configs.map(({ contender }) => [contender, []]));
    for (let start = 0; start < (context.isQuick ? 1 : STARTS); start++) {
      const some = await withServers(configs, (servers) => watchedRounds(servers, watch));
      for (const [contender, rounds] of some) samples.get(contender)?.push(...rounds);
    }
    const line = comparison(samples, {
      workload,
      figure: 'requests/s',
      against: 'unwatched',
      atLeast: TARGETS[watch],
      byMedian: true,
      remark: '',
    });
    lines.push(line);
  }
  return lines;
}

async function watchedRounds(servers: readonly Server[], watch: Watch): Promise<Samples> {
  const looking = new AbortController();
  const [ours] = servers;
  const looked = ours && (watch === 'metrics' ? scrape(ours, looking.signal) : openPage(ours, looking.signal));
  try {
    return await interleaved(servers, ROUNDS, (server) => wrk(server.url(NAME), 16, ROUND_SECONDS));
  } finally {
    looking.abort();
    await looked;
  }
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
