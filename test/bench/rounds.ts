import type { Server } from './children.js';
import type { Load } from './load.js';
import type { Contender } from './server.js';
import { type Line, median, show } from './table.js';

/** Result of one round of one contender. */
export interface Sample extends Load {
  readonly perSecond: number;
  /** CPU time of the server per successful request. */
  readonly cpuMicroseconds: number;
}

export type Samples = ReadonlyMap<Contender, readonly Sample[]>;

/** Runs a load, and measures the CPU time of the server. */
export async function measure(server: Server, load: () => Promise<Load>): Promise<Sample> {
  const before = server.cpuMicroseconds();
  const result = await load();
  return {
    ...result,
    perSecond: result.succeeded / result.seconds,
    cpuMicroseconds: (server.cpuMicroseconds() - before) / result.succeeded,
  };
}

/** Measures servers in turn (A B C A B C) after a warm-up, so that disturbances of the machine affect all of them. */
export async function interleaved(
  servers: readonly Server[],
  rounds: number,
  load: (server: Server) => Promise<Load>,
): Promise<Samples> {
  for (const server of servers) {
    const { succeeded, failed } = await load(server);
    if (succeeded === 0 && failed === 0) throw new Error(`${server.config.contender} answered no request`);
  }
  const samples = new Map<Contender, Sample[]>(servers.map(({ config }) => [config.contender, []]));
  for (let round = 0; round < rounds; round++) {
    for (const server of servers) samples.get(server.config.contender)?.push(await measure(server, () => load(server)));
  }
  return samples;
}

/** Options of {@link comparison}. */
export interface Comparison {
  readonly workload: string;
  readonly figure: string;
  /** Contender to compare. Default: `hotblob`. */
  readonly of?: Contender;
  readonly against: Contender;
  /** Display name of `against`. Default: the contender. */
  readonly label?: string;
  /** Target: the lowest acceptable ratio of `of` to `against`. */
  readonly atLeast: number;
  /** Factor from requests per second to the unit of `figure`. Default: 1. */
  readonly scale?: number;
  /** Whether to compare the medians of the rounds instead of the best rounds. */
  readonly byMedian?: boolean;
  readonly remark: string;
}

/** Compares hotblob with one other contender. */
export function comparison(samples: Samples, options: Comparison): Line {
  const { workload, figure, of = 'hotblob', against, label = against, atLeast, scale = 1 } = options;
  const summarise = options.byMedian ? median : (values: readonly number[]) => Math.max(...values);
  const ours = samples.get(of) ?? [];
  const theirs = samples.get(against) ?? [];
  const ourRates = ours.map(({ perSecond }) => perSecond);
  const theirRates = theirs.map(({ perSecond }) => perSecond);
  const our = summarise(ourRates);
  const their = summarise(theirRates);
  const cpu = [ours, theirs].map((rounds) => show(median(rounds.map(({ cpuMicroseconds }) => cpuMicroseconds))));
  const failures = [failuresOf(of, ours), failuresOf(label, theirs)];
  return {
    workload,
    figure,
    hotblob: show(our * scale),
    against: `${label} ${show(their * scale)}`,
    ratio: show(our / their),
    medianRatio: show(medianRatio(ourRates, theirRates)),
    target: `>= ${atLeast}`,
    isMet: our / their >= atLeast,
    cpu: cpu.join(' / '),
    remark: [options.remark, ...failures].filter((text) => text !== '').join('; '),
  };
}

/** Returns the median of the ratios of all rounds. */
export function medianRatio(ours: readonly number[], theirs: readonly number[]): number {
  return median(ours.map((value, round) => value / (theirs[round] ?? Number.NaN)));
}

/** Returns the number of failed requests of all rounds. */
export function failedIn(samples: readonly Sample[]): number {
  return samples.reduce((sum, { failed }) => sum + failed, 0);
}

function failuresOf(contender: string, samples: readonly Sample[]): string {
  const failed = failedIn(samples);
  const succeeded = samples.reduce((sum, sample) => sum + sample.succeeded, 0);
  return failed === 0 ? '' : `${contender}: ${failed} of ${failed + succeeded} requests failed`;
}
