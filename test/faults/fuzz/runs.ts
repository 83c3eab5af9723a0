/** Number of runs of the model over all stores, and of each parser. FUZZ_RUNS=100000 is the nightly setting. */
const TOTAL_RUNS = Number(process.env['FUZZ_RUNS'] ?? 5000);
/** Times of a run on a machine with a load of ten, and of fast-check to shrink a failure. */
const SLOWEST_RUN_MS = 200;
const SHRINKING_MS = 10 * 60_000;

/** Returns a share of all runs, and their time limit. */
export function runsOf(share: number): { readonly runs: number; readonly timeoutMs: number } {
  if (!(TOTAL_RUNS >= 1)) throw new Error(`FUZZ_RUNS: expected a number of runs, received ${process.env['FUZZ_RUNS']}`);
  const runs = Math.ceil(TOTAL_RUNS * share);
  return { runs, timeoutMs: runs * SLOWEST_RUN_MS + SHRINKING_MS };
}
