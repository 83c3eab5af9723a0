import { setImmediate as nextIteration } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';

/**
 * Makes `performance.now()` advance by one millisecond with each call until the end of the test, so that work in slices
 * pauses after few steps. Only for serial tests.
 */
export function useFastClock(t: ExecutionContext): void {
  const { now } = performance;
  let ahead = 0;
  performance.now = () => now.call(performance) + ++ahead;
  t.teardown(async () => {
    performance.now = now;
    // The slice of this iteration began at a time that is in the future for the clock of the next test.
    await nextIteration();
  });
}

/** Calls `observe` once in each iteration of the event loop until `task` settles. Resolves to the number of iterations. */
export async function countIterations(task: Promise<unknown>, observe: () => void = () => {}): Promise<number> {
  let iterations = 0;
  let immediate = setImmediate(function next() {
    iterations++;
    observe();
    immediate = setImmediate(next);
  });
  await task.finally(() => clearImmediate(immediate));
  return iterations;
}
