/** Runs of the model, over all stores, and of each parser; FUZZ_RUNS=100000 is the nightly form. */
const ALL = Number(process.env['FUZZ_RUNS'] ?? 5000);
/** What a run takes on a machine with a load of ten, and what fast-check needs to make a failure smaller. */
const SLOWEST_RUN_MS = 200;
const SHRINKING_MS = 10 * 60_000;

/** A share of all runs, and how long they may take. */
export function runsOf(share: number): { readonly runs: number; readonly timeoutMs: number } {
  if (!(ALL >= 1)) throw new Error(`FUZZ_RUNS: expected a number of runs, received ${process.env['FUZZ_RUNS']}`);
  const runs = Math.ceil(ALL * share);
  return { runs, timeoutMs: runs * SLOWEST_RUN_MS + SHRINKING_MS };
}
