import type { Server } from './children.js';
import type { Load } from './load.js';
import type { Contender } from './server.js';
import { type Line, median, show } from './table.js';

/** One round of one contender. */
export interface Sample extends Load {
  readonly perSecond: number;
  /** Server CPU time per request that succeeded. */
  readonly cpuMicroseconds: number;
}

export type Samples = ReadonlyMap<Contender, readonly Sample[]>;

/** Runs one load and watches what it costs the server. */
export async function measure(server: Server, load: () => Promise<Load>): Promise<Sample> {
  const before = server.cpuMicroseconds();
  const result = await load();
  return {
    ...result,
    perSecond: result.succeeded / result.seconds,
    cpuMicroseconds: (server.cpuMicroseconds() - before) / result.succeeded,
  };
}

/** A B C A B C ..., after one load of each that warms up: what disturbs the machine for a while disturbs all of them. */
export async function interleaved(
  servers: readonly Server[],
  rounds: number,
  load: (server: Server) => Promise<Load>,
): Promise<Samples> {
  for (const server of servers) {
    const { succeeded, failed } = await load(server);
    if (succeeded === 0 && failed === 0) throw new Error(`${server.config.contender} answered nothing`);
  }
  const samples = new Map<Contender, Sample[]>(servers.map(({ config }) => [config.contender, []]));
  for (let round = 0; round < rounds; round++) {
    for (const server of servers) samples.get(server.config.contender)?.push(await measure(server, () => load(server)));
  }
  return samples;
}

/** What a {@link comparison} needs to know. */
export interface Comparison {
  readonly workload: string;
  readonly figure: string;
  /** Default: `hotblob`. */
  readonly of?: Contender;
  readonly against: Contender;
  /** What `against` is in words. Default: its name. */
  readonly called?: string;
  /** The lowest ratio of ours to theirs that meets the target. */
  readonly atLeast: number;
  /** What one request per second counts for in `figure`. Default: 1. */
  readonly scale?: number;
  /** Whether the median of the rounds counts instead of the best. */
  readonly byMedian?: boolean;
  readonly remark: string;
}

/** Ours against one other. */
export function comparison(samples: Samples, options: Comparison): Line {
  const { workload, figure, of = 'hotblob', against, called = against, atLeast, scale = 1 } = options;
  const summarise = options.byMedian ? median : (values: readonly number[]) => Math.max(...values);
  const ours = samples.get(of) ?? [];
  const theirs = samples.get(against) ?? [];
  const ourRates = ours.map(({ perSecond }) => perSecond);
  const theirRates = theirs.map(({ perSecond }) => perSecond);
  const our = summarise(ourRates);
  const their = summarise(theirRates);
  const cpu = [ours, theirs].map((rounds) => show(median(rounds.map(({ cpuMicroseconds }) => cpuMicroseconds))));
  const failures = [failuresOf(of, ours), failuresOf(called, theirs)];
  return {
    workload,
    figure,
    hotblob: show(our * scale),
    against: `${called} ${show(their * scale)}`,
    ratio: show(our / their),
    medianRatio: show(medianRatio(ourRates, theirRates)),
    target: `>= ${atLeast}`,
    isMet: our / their >= atLeast,
    cpu: cpu.join(' / '),
    remark: [options.remark, ...failures].filter((text) => text !== '').join('; '),
  };
}

/** The median of what the rounds say, each compared within itself. */
export function medianRatio(ours: readonly number[], theirs: readonly number[]): number {
  return median(ours.map((value, round) => value / (theirs[round] ?? Number.NaN)));
}

/** Requests that failed in all rounds. */
export function failedIn(samples: readonly Sample[]): number {
  return samples.reduce((sum, { failed }) => sum + failed, 0);
}

function failuresOf(contender: string, samples: readonly Sample[]): string {
  const failed = failedIn(samples);
  const succeeded = samples.reduce((sum, sample) => sum + sample.succeeded, 0);
  return failed === 0 ? '' : `${contender}: ${failed} of ${failed + succeeded} requests failed`;
}
