import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { segmentStore } from 'hotblob';
import { type Server, withServers } from './children.js';
import type { BenchContext } from './context.js';
import { KIB, MIB, writeFiles } from './files.js';
import { h2load } from './load.js';
import { medianRatio } from './rounds.js';
import type { Protocol, ServerConfig, StoreKind } from './server.js';
import { type Line, median, show } from './table.js';

const SIZES = {
  '1KiB': KIB,
  '4KiB': 4 * KIB,
  '16KiB': 16 * KIB,
  '64KiB': 64 * KIB,
  '256KiB': 256 * KIB,
  '1MiB': MIB,
  '16MiB': 16 * MIB,
} as const;
type Name = keyof typeof SIZES;
const NAMES = Object.keys(SIZES) as Name[];
const STORES: readonly StoreKind[] = ['directory', 'segments'];
/** Highest acceptable CPU time per request, as a multiple of that of the Buffer. */
const TARGETS = { hotblob: 1.15, command: 1.25 } as const;
const ROUNDS = 15;
/** CPU time of the Buffer in one round. */
const ROUND_MICROSECONDS = 150_000;
/** Two for each of the streams. */
const MIN_REQUESTS = 128;
const WARM_UP_MICROSECONDS = 500_000;

/**
 * Measures the CPU time per request of both stores, through a handler on a bare server and through `hotblob serve`,
 * compared with a Buffer that sends the same headers, and with one that sends only the length and the type. Rounds are short and interleaved, because a busy machine changes
 * the CPU time of a request by much more than the differences between the contenders.
 */
export async function cpu(context: BenchContext): Promise<Line[]> {
  const files = join(context.directory, 'cpu');
  await writeFiles(files, SIZES);
  const directories = new Map<string, string>();
  for (const contender of ['hotblob', 'command'] as const) {
    directories.set(`directory ${contender}`, files);
    const segments = join(context.directory, `cpu-${contender}`);
    const store = await segmentStore(segments);
    for (const name of NAMES) await store.put(name, createReadStream(join(files, name)));
    await store.close();
    directories.set(`segments ${contender}`, segments);
  }
  const lines: Line[] = [];
  for (const protocol of ['h1', 'h2c'] as const) {
    const configs: ServerConfig[] = (['Buffer', 'plain Buffer'] as const).map((contender) => {
      return { contender, protocol, directory: files, names: NAMES };
    });
    for (const store of STORES) {
      for (const contender of ['hotblob', 'command'] as const) {
        configs.push({ contender, protocol, store, directory: directories.get(`${store} ${contender}`) ?? '' });
      }
    }
    await withServers(configs, async (servers) => {
      for (const name of NAMES) {
        context.progress(`CPU time, ${protocol}, ${name}`);
        lines.push(...(await compare(servers, protocol, name, context.isQuick ? 5 : ROUNDS)));
      }
    });
  }
  return lines;
}

async function compare(servers: readonly Server[], protocol: Protocol, name: Name, rounds: number): Promise<Line[]> {
  const [buffer, plainBuffer] = servers;
  if (buffer === undefined || plainBuffer === undefined) return [];
  const estimate = await cpuPerRequest(buffer, protocol, name, MIN_REQUESTS);
  const warmUp = Math.max(MIN_REQUESTS, Math.ceil(WARM_UP_MICROSECONDS / estimate));
  for (const server of servers) await cpuPerRequest(server, protocol, name, warmUp);
  const warm = await cpuPerRequest(buffer, protocol, name, warmUp);
  const requests = Math.max(MIN_REQUESTS, Math.ceil(ROUND_MICROSECONDS / warm));
  const times = new Map<Server, number[]>(servers.map((server) => [server, []]));
  for (let round = 0; round < rounds; round++) {
    for (const server of servers) times.get(server)?.push(await cpuPerRequest(server, protocol, name, requests));
  }
  const theirs = times.get(buffer) ?? [];
  const plain = times.get(plainBuffer) ?? [];
  return servers.slice(2).map((server) => {
    const ours = times.get(server) ?? [];
    const { contender, store } = server.config;
    const target = contender === 'command' ? TARGETS.command : TARGETS.hotblob;
    const ratio = medianRatio(ours, theirs);
    return {
      workload: `${protocol}, ${name}, ${store}, ${contender === 'command' ? 'hotblob serve' : 'handler'}`,
      figure: 'CPU µs/request',
      hotblob: show(median(ours)),
      against: `Buffer ${show(median(theirs))}`,
      ratio: show(Math.min(...ours) / Math.min(...theirs)),
      medianRatio: show(ratio),
      target: `<= ${target}`,
      isMet: ratio <= target,
      cpu: '',
      remark: `plain Buffer ${show(median(plain))}, ratio ${show(medianRatio(ours, plain))}`,
    };
  });
}

async function cpuPerRequest(server: Server, protocol: Protocol, name: Name, requests: number): Promise<number> {
  // A Buffer of 16 MiB on each of 64 streams would need 1 GiB for each server.
  const [clients, streams] = protocol === 'h1' ? [16, 1] : [4, SIZES[name] > MIB ? 4 : 16];
  const { cpuMicroseconds: before } = await server.query('usage');
  const { succeeded } = await h2load(server.url(name), requests, clients, streams, protocol === 'h1');
  const { cpuMicroseconds: after } = await server.query('usage');
  if (succeeded < requests) throw new Error(`${server.config.contender}: ${requests - succeeded} requests failed`);
  return (after - before) / succeeded;
}
