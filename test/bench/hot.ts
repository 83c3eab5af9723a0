import { type Server, withServers } from './children.js';
import type { BenchContext } from './context.js';
import { KIB, MIB } from './files.js';
import { h2load, h2loadFor, type Load, wrk } from './load.js';
import { comparison, failedIn, interleaved, type Samples } from './rounds.js';
import type { Contender, Protocol } from './server.js';
import { type Line, show, sourcesOf } from './table.js';

/** Names and sizes of the artifacts. */
export const HOT_FILES = { '4KiB': 4 * KIB, '64KiB': 64 * KIB, '1MiB': MIB, '16MiB': 16 * MIB } as const;

type HotName = keyof typeof HOT_FILES;
const NAMES: readonly HotName[] = ['4KiB', '64KiB', '1MiB', '16MiB'];
const BUFFER_TARGET = 0.9;
const ROUNDS = 3;
/** The fair upper bound, with the headers of hotblob, and one with the least headers. */
const BUFFERS = ['Buffer', 'plain Buffer'] as const;

interface HotRow {
  readonly workload: string;
  readonly protocol: Protocol;
  readonly name: HotName;
  readonly contenders: readonly Contender[];
  readonly rounds: number;
  /** Runs the load generator once. */
  readonly load: (server: Server) => Promise<Load>;
}

/** Measures HTTP/1.1 downloads from the page cache with 16 connections. */
export async function hotHttp1(context: BenchContext): Promise<Line[]> {
  const lines: Line[] = [];
  const seconds = context.isQuick ? 1 : 2;
  for (const name of NAMES) {
    const row: HotRow = {
      workload: `HTTP/1.1, hot, ${spaced(name)}`,
      protocol: 'h1',
      name,
      contenders: [...BUFFERS, 'hotblob', 'send'],
      rounds: ROUNDS,
      load: (server) => wrk(server.url(name), 16, seconds),
    };
    lines.push(...(await compare(context, row)));
  }
  return lines;
}

/** Measures h2c downloads from the page cache: 4 connections with 16 streams each, and one with 128 streams. */
export async function hotHttp2(context: BenchContext): Promise<Line[]> {
  const lines: Line[] = [];
  const seconds = context.isQuick ? 0.5 : 2;
  for (const name of NAMES) {
    const load = h2loadFor(seconds, FIRST_REQUESTS[name], 4, 16);
    const row: HotRow = {
      workload: `h2c, hot, ${spaced(name)}`,
      protocol: 'h2c',
      name,
      // A Buffer of 16 MiB exceeds the maxSessionMemory of node:http2, so such requests fail.
      contenders: name === '16MiB' ? ['hotblob', 'send'] : [...BUFFERS, 'hotblob', 'send'],
      rounds: ROUNDS,
      load: (server) => load(server.url(name)),
    };
    lines.push(...(await compare(context, row)));
  }
  return [...lines, ...(await manyStreams(context))];
}

const FIRST_REQUESTS: Readonly<Record<HotName, number>> = { '4KiB': 5000, '64KiB': 3000, '1MiB': 640, '16MiB': 64 };

async function compare(context: BenchContext, row: HotRow): Promise<Line[]> {
  const { workload, name } = row;
  const { samples, remark } = await run(context, row);
  const common = { workload, figure: 'requests/s' };
  const line = comparison(samples, {
    ...common,
    against: 'send',
    atLeast: HOT_FILES[name] <= MIB ? 4 : 2,
    remark: '',
  });
  if (!row.contenders.includes('Buffer'))
    return [{ ...line, remark: [remark, line.remark].filter(Boolean).join('; ') }];
  const remarks = [remark, plainRemark(samples)].filter(Boolean).join('; ');
  return [comparison(samples, { ...common, against: 'Buffer', atLeast: BUFFER_TARGET, remark: remarks }), line];
}

/** Returns the best rate of the plain Buffer, and the ratio of hotblob to it. */
function plainRemark(samples: Samples): string {
  const best = (contender: Contender): number =>
    Math.max(...(samples.get(contender) ?? []).map(({ perSecond }) => perSecond));
  return `plain Buffer ${show(best('plain Buffer'))}, ratio ${show(best('hotblob') / best('plain Buffer'))}`;
}

/** Measures 128 streams of 16 MiB on one connection, many times the maxSessionMemory of node:http2. */
async function manyStreams(context: BenchContext): Promise<Line[]> {
  const workload = 'h2c, hot, 16 MiB, 128 streams on one connection';
  const requests = context.isQuick ? 256 : 750;
  const { samples, remark } = await run(context, {
    workload,
    protocol: 'h2c',
    name: '16MiB',
    contenders: ['hotblob', 'send'],
    rounds: context.isQuick ? 1 : 2,
    load: (server) => h2load(server.url('16MiB'), requests, 1, 128),
  });
  const ours = samples.get('hotblob') ?? [];
  const failed = failedIn(ours);
  const line = comparison(samples, {
    workload,
    figure: 'MiB/s of successful requests',
    against: 'send',
    atLeast: 2.5,
    scale: HOT_FILES['16MiB'] / MIB,
    remark,
  });
  const none = { against: '', ratio: '', medianRatio: '', cpu: '', remark: '' };
  const failures = {
    workload,
    figure: `failed requests of ${requests * ours.length}`,
    hotblob: String(failed),
    target: '0',
  };
  return [line, { ...none, ...failures, isMet: failed === 0 }];
}

async function run(context: BenchContext, row: HotRow): Promise<{ samples: Samples; remark: string }> {
  const { protocol, contenders, name, rounds, load } = row;
  context.progress(row.workload);
  const directory = context.hotDirectory;
  const configs = contenders.map((contender) => ({ contender, protocol, directory, names: [name] }));
  return withServers(configs, async (servers) => {
    if (protocol === 'h1') await assertSameHeaders(servers, name);
    const samples = await interleaved(servers, rounds, load);
    const ours = servers.find(({ config }) => config.contender === 'hotblob');
    return { samples, remark: sourcesOf((await ours?.query('report'))?.sent) };
  });
}

/** Asserts that the Buffer server sends the same headers as hotblob. Otherwise the comparison would not be fair. */
async function assertSameHeaders(servers: readonly Server[], name: string): Promise<void> {
  const [ours, theirs] = await Promise.all(
    (['hotblob', 'Buffer'] as const).map(async (contender) => {
      const server = servers.find(({ config }) => config.contender === contender);
      const { status, headers } = await fetch(server?.url(name) ?? '', { method: 'HEAD' });
      return `${status} ${[...headers.keys()].sort().join(', ')}`;
    }),
  );
  if (ours !== theirs) throw new Error(`different responses: hotblob ${ours}, Buffer ${theirs}; update in-memory.ts`);
}

function spaced(name: HotName): string {
  return name.replace(/(?=[KM])/, ' ');
}
