import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { type Server, withClients, withServers } from './children.js';
import type { ClientsConfig } from './clients.js';
import type { BenchContext } from './context.js';
import { MIB, writeFiles } from './files.js';
import type { Contender } from './server.js';
import { type Line, show, sourcesOf } from './table.js';

const CLIENTS = 500;
const NAME = '64MiB';
const ARTIFACT_BYTES = 64 * MIB;
const MAX_GROWTH_BYTES = 64e6;
const TIMEOUT_MS = 60_000;
const SAMPLE_MS = 100;

interface Growth {
  readonly peakBytes: number;
  readonly stalledBytes: number;
  readonly remark: string;
}

/** Measures memory with clients that stop reading in the middle of a download and stay connected. */
export async function memory(context: BenchContext): Promise<Line[]> {
  const workload = `HTTP/1.1, ${CLIENTS} clients that stop reading, 64 MiB`;
  context.progress(workload);
  const directory = join(context.directory, 'memory');
  await writeFiles(directory, { [NAME]: ARTIFACT_BYTES });
  const growths = new Map<Contender, Growth>();
  for (const contender of ['hotblob', 'send'] as const) {
    const configs = [{ contender, protocol: 'h1', directory } as const];
    const growth = await withServers(configs, async ([server]) => server && growthOf(server, context.isQuick));
    if (growth !== undefined) growths.set(contender, growth);
  }
  const ours = growths.get('hotblob');
  const theirs = growths.get('send');
  const mb = (bytes = Number.NaN): string => show(bytes / 1e6);
  return [
    {
      workload,
      figure: 'peak RssAnon growth, MB',
      hotblob: mb(ours?.peakBytes),
      against: `send ${mb(theirs?.peakBytes)}`,
      ratio: '',
      medianRatio: '',
      target: `<= ${mb(MAX_GROWTH_BYTES)}`,
      isMet: ours !== undefined && ours.peakBytes <= MAX_GROWTH_BYTES,
      cpu: '',
      remark: `settled ${mb(ours?.stalledBytes)} / ${mb(theirs?.stalledBytes)}; ${ours?.remark}`,
    },
  ];
}

async function growthOf(server: Server, isQuick: boolean): Promise<Growth> {
  // Warm-up, so that modules and buffers loaded by the first response are not attributed to the clients.
  await withDownloads(server, 1, undefined, () => Promise.resolve());
  const before = server.anonymousBytes();
  let peak = before;
  const sampler = setInterval(() => {
    peak = Math.max(peak, server.anonymousBytes());
  }, SAMPLE_MS);
  try {
    return await withDownloads(server, CLIENTS, (isQuick ? 2 : 16) * MIB, async () => {
      await wait(isQuick ? 1000 : 3000);
      const stalled = server.anonymousBytes();
      const { sent } = await server.query('report');
      return { peakBytes: Math.max(peak, stalled) - before, stalledBytes: stalled - before, remark: sourcesOf(sent) };
    });
  } finally {
    clearInterval(sampler);
  }
}

/** Calls `use` when every client has downloaded the artifact or has stopped reading. Stopped clients stay connected. */
function withDownloads<T>(
  server: Server,
  count: number,
  stopAfterBytes: number | undefined,
  use: () => Promise<T>,
): Promise<T> {
  const config: ClientsConfig = {
    port: server.port,
    paths: Array.from({ length: count }, () => `/${NAME}`),
    bodyBytes: ARTIFACT_BYTES,
    ...(stopAfterBytes === undefined ? {} : { stopAfterBytes }),
    timeoutMs: TIMEOUT_MS,
  };
  return withClients('./clients.ts', config, ({ failed }) => {
    if (failed > 0) throw new Error(`${failed} of ${count} clients of ${server.config.contender} failed`);
    return use();
  });
}
