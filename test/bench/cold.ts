import { join } from 'node:path';
import { type Server, withClients, withServers } from './children.js';
import type { ClientsConfig, ClientsReport } from './clients.js';
import type { BenchContext } from './context.js';
import { diskSpaceProblem, type Evictor, GIB, KIB, loadEvictor, MIB, writeFiles } from './files.js';
import { comparison, measure, type Sample } from './rounds.js';
import type { Contender, ServerReport } from './server.js';
import { type Line, median, show, sourcesOf } from './table.js';

const CONTENDERS = ['hotblob', 'send'] as const satisfies readonly Contender[];
const FILES = 16;
const ROUNDS = 2;
const MAX_DELAY_MS = 15;
const WARM_UP = 'warm-up';
const TIMEOUT_MS = 120_000;
/** Maximum share of resident pages for files that count as cold. */
const MAX_RESIDENT = 0.001;

interface ColdRound {
  readonly sample: Sample;
  readonly report: ServerReport;
}

/** Measures concurrent downloads of different files that are not in the page cache. */
export async function cold(context: BenchContext): Promise<Line[]> {
  const fileBytes = (context.isQuick ? 32 : 128) * MIB;
  const workload = `HTTP/1.1, cold, ${FILES} x ${fileBytes / MIB} MiB`;
  context.progress(workload);
  const evictor = loadEvictor();
  if (evictor === undefined)
    return context.skip(workload, 'koffi does not load, and files cannot be evicted without it');
  const reason = await diskSpaceProblem(context.directory, FILES * fileBytes);
  if (reason !== undefined) return context.skip(workload, reason);

  const directory = join(context.directory, 'cold');
  const names = Array.from({ length: FILES }, (_, index) => `file-${index}`);
  await writeFiles(directory, Object.fromEntries([[WARM_UP, 64 * KIB], ...names.map((name) => [name, fileBytes])]));
  const rounds = new Map<Contender, ColdRound[]>(CONTENDERS.map((contender) => [contender, []]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const contender of CONTENDERS) {
      // Each round has a new server, because pages cannot be evicted while a process has mapped them.
      const configs = [{ contender, protocol: 'h1', directory } as const];
      const result = await withServers(configs, async ([server]) => {
        if (server === undefined) return undefined;
        await download(
          server,
          Array.from({ length: 32 }, () => WARM_UP),
          64 * KIB,
        );
        return (await isCold(evictor, names, directory)) ? runRound(server, names, fileBytes) : undefined;
      });
      if (result === undefined) {
        return context.skip(
          workload,
          `files below ${directory} cannot be evicted (a tmpfs?); set TMPDIR to a directory on a disk`,
        );
      }
      rounds.get(contender)?.push(result);
    }
  }
  return linesOf(workload, fileBytes, rounds);
}

async function isCold(evictor: Evictor, names: readonly string[], directory: string): Promise<boolean> {
  const paths = names.map((name) => join(directory, name));
  for (let attempt = 0; attempt < 10; attempt++) {
    if (evictor.evict(paths) <= MAX_RESIDENT) return true;
    // Pages cannot be evicted while they are read, written or mapped by a server that is still exiting.
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return false;
}

async function runRound(server: Server, names: readonly string[], bytes: number): Promise<ColdRound> {
  await server.query('reset');
  const sample = await measure(server, () => download(server, names, bytes));
  return { sample, report: await server.query('report') };
}

function download(server: Server, names: readonly string[], bodyBytes: number): Promise<ClientsReport> {
  const paths = names.map((name) => `/${name}`);
  const config: ClientsConfig = { port: server.port, paths, bodyBytes, timeoutMs: TIMEOUT_MS };
  return withClients('./clients.ts', config, (report) => report);
}

function linesOf(workload: string, fileBytes: number, rounds: ReadonlyMap<Contender, readonly ColdRound[]>): Line[] {
  const samples = new Map([...rounds].map(([contender, all]) => [contender, all.map(({ sample }) => sample)]));
  const ours = rounds.get('hotblob') ?? [];
  const theirs = rounds.get('send') ?? [];
  const p99 = (all: readonly ColdRound[]): number => median(all.map(({ report }) => report.delayP99Ms));
  const max = (all: readonly ColdRound[]): string => show(Math.max(...all.map(({ report }) => report.delayMaxMs)));
  const throughput = comparison(samples, {
    workload,
    figure: 'GiB/s',
    against: 'send',
    atLeast: 1,
    scale: fileBytes / GIB,
    byMedian: true,
    remark: sourcesOf(ours.at(-1)?.report.sent),
  });
  const delay: Line = {
    workload,
    figure: 'event-loop delay p99, ms',
    hotblob: show(p99(ours)),
    against: `send ${show(p99(theirs))}`,
    ratio: '',
    medianRatio: '',
    target: `<= ${MAX_DELAY_MS}`,
    isMet: p99(ours) <= MAX_DELAY_MS,
    cpu: '',
    remark: `max ${max(ours)} / ${max(theirs)}`,
  };
  return [delay, throughput];
}
