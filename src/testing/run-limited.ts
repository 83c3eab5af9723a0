/** Maximum number of checks that run at the same time in this process. */
const MAX_RUNNING = 4;

let running = 0;
const waiting: (() => void)[] = [];

/**
 * Runs `task` when fewer than four other tasks are running. Tasks start in the order of the calls. AVA starts all tests
 * of a file at once. Without this limit, the load of all checks could make an operation of a correct store exceed its
 * deadline.
 */
export async function runLimited<T>(task: () => Promise<T>): Promise<T> {
  if (running < MAX_RUNNING) running++;
  else await new Promise<void>((resolve) => waiting.push(resolve));
  try {
    return await task();
  } finally {
    // The waiting task takes the place of this one. `running` is not decremented, so that no later call can take the
    // place first.
    const next = waiting.shift();
    if (next === undefined) running--;
    else next();
  }
}
