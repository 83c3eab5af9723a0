import { setImmediate as nextIteration } from 'node:timers/promises';

/** Maximum number of runs. */
const MAX_RUNS = 20_000;

/** Run of pages, or of blocks of pages: 1 if they are resident, otherwise 0, and their number. */
export type PageRun = readonly [0 | 1, number];

/** Runs of blocks. */
interface PageRuns {
  /** Number of pages in a block. A block is resident if all of its pages are resident. */
  readonly block: number;
  readonly runs: readonly PageRun[];
}

/** Returns the runs of a page map, in blocks that are large enough for at most 20,000 runs. */
export async function pageRuns(map: Uint8Array): Promise<PageRuns> {
  let blocks = map;
  for (let block = 1; ; block *= 2) {
    const runs = runsIn(blocks);
    if (runs !== undefined) return { block, runs };
    // Each pass over a map of a million pages takes about 2 ms.
    await nextIteration();
    blocks = halve(blocks);
    await nextIteration();
  }
}

/** Returns the runs, or `undefined` if there are too many. */
function runsIn(blocks: Uint8Array): PageRun[] | undefined {
  const runs: PageRun[] = [];
  for (let start = 0; start < blocks.length; ) {
    const state = blocks[start] === 1 ? 1 : 0;
    const next = blocks.indexOf(1 - state, start);
    const end = next === -1 ? blocks.length : next;
    if (runs.push([state, end - start]) > MAX_RUNS) return undefined;
    start = end;
  }
  return runs;
}

function halve(blocks: Uint8Array): Uint8Array {
  const halved = new Uint8Array(Math.ceil(blocks.length / 2));
  for (let index = 0; index < halved.length; index++) {
    halved[index] = (blocks[2 * index] ?? 1) & (blocks[2 * index + 1] ?? 1);
  }
  return halved;
}
