import { join } from 'node:path';
import { isInstalled } from './children.js';
import type { BenchContext } from './context.js';
import { h2load } from './load.js';
import { type ProcessTree, startHotblob, startNginx } from './process-trees.js';
import { medianRatio } from './rounds.js';
import { type Line, median, show } from './table.js';

const NAMES = ['4KiB', '64KiB', '1MiB'] as const;
const ROUNDS = 9;
/** Highest acceptable CPU time per request of two processes, as a multiple of that of one. */
const MAX_CPU_RATIO = 1.05;
/** Lowest acceptable rate of two processes, as a multiple of that of one. */
const MIN_RATE_RATIO = 1.5;
/** Connections and streams of a connection. With fewer connections, the kernel distributes them less evenly. */
const LOADS = { h1: [64, 1], h2c: [32, 4] } as const;
const FIRST_REQUESTS = 256;
const WARM_UP_RUNS = 5;

interface Sample {
  readonly cpuMicroseconds: number;
  readonly perSecond: number;
}

/**
 * Measures `hotblob serve` with one and with two processes, beside nginx with two workers: CPU time per request of all processes
 * together, and requests per second under a load that uses them fully.
 */
export async function processes(context: BenchContext): Promise<Line[]> {
  const trees: ProcessTree[] = [];
  try {
    for (const count of [1, 2]) trees.push(await startHotblob(context.hotDirectory, count));
    if (isInstalled('nginx')) trees.push(await startNginx(context.hotDirectory, join(context.directory, 'nginx'), 2));
    else context.skip('requests/s beside nginx', 'nginx is not installed');
    const lines: Line[] = [];
    for (const protocol of ['h1', 'h2c'] as const) {
      for (const name of NAMES) {
        context.progress(`processes, ${protocol}, ${name}`);
        const seconds = context.isQuick ? 0.3 : 1;
        const samples = await measure(trees, protocol, name, context.isQuick ? 3 : ROUNDS, seconds);
        lines.push(...linesOf(`${protocol}, ${name}`, trees, samples));
      }
    }
    return lines;
  } finally {
    for (const tree of trees) await tree.stop();
  }
}

/** Measures the programs in turn, so that disturbances of the machine affect all of them. */
async function measure(
  trees: readonly ProcessTree[],
  protocol: 'h1' | 'h2c',
  name: string,
  rounds: number,
  seconds: number,
): Promise<Sample[][]> {
  const requests = new Map<ProcessTree, number>();
  const run = async (tree: ProcessTree): Promise<Sample> => {
    const [clients, streams] = LOADS[protocol];
    const count = requests.get(tree) ?? FIRST_REQUESTS;
    const before = await tree.cpuMicroseconds();
    const load = await h2load(tree.url(protocol, name), count, clients, streams, protocol === 'h1');
    const cpuMicroseconds = ((await tree.cpuMicroseconds()) - before) / load.succeeded;
    if (load.failed > 0) throw new Error(`${tree.label}: ${load.failed} requests failed`);
    const perSecond = load.succeeded / load.seconds;
    requests.set(tree, Math.max(FIRST_REQUESTS, Math.ceil(perSecond * seconds)));
    return { cpuMicroseconds, perSecond };
  };
  // Two processes get half of the requests each, and need twice as many until their code is optimised.
  for (let count = 0; count < WARM_UP_RUNS; count++) for (const tree of trees) await run(tree);
  const samples = trees.map((): Sample[] => []);
  for (let round = 0; round < rounds; round++) {
    for (const [index, tree] of trees.entries()) samples[index]?.push(await run(tree));
  }
  return samples;
}

function linesOf(workload: string, [, , nginx]: readonly ProcessTree[], samples: readonly Sample[][]): Line[] {
  const [one = [], two = [], other = []] = samples;
  const column = (rounds: readonly Sample[], figure: keyof Sample) => rounds.map((sample) => sample[figure]);
  const compare = (figure: keyof Sample, theirs: readonly Sample[], label: string) => {
    const [ours, others] = [column(two, figure), column(theirs, figure)];
    const best = figure === 'perSecond' ? Math.max : Math.min;
    return {
      workload: `${workload}, 2 processes`,
      figure: figure === 'perSecond' ? 'requests/s' : 'CPU µs/request of all processes',
      hotblob: show(median(ours)),
      against: `${label} ${show(median(others))}`,
      ratio: show(best(...ours) / best(...others)),
      medianRatio: show(medianRatio(ours, others)),
      cpu: '',
      remark: '',
    };
  };
  const cpuRatio = medianRatio(column(two, 'cpuMicroseconds'), column(one, 'cpuMicroseconds'));
  const rateRatio = medianRatio(column(two, 'perSecond'), column(one, 'perSecond'));
  return [
    {
      ...compare('cpuMicroseconds', one, '1 process'),
      target: `<= ${MAX_CPU_RATIO}`,
      isMet: cpuRatio <= MAX_CPU_RATIO,
    },
    { ...compare('perSecond', one, '1 process'), target: `>= ${MIN_RATE_RATIO}`, isMet: rateRatio >= MIN_RATE_RATIO },
    ...(nginx === undefined ? [] : [{ ...compare('perSecond', other, nginx.label), target: '', isMet: true }]),
  ];
}
