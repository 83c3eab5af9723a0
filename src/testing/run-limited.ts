/** Maximum number of checks that run at the same time in this process. */
const MAX_RUNNING = 4;

let running = 0;
const waiting: (() => void)[] = [];

/**
 * Runs `task` when fewer than four others are running, first come, first served. AVA starts all tests of a file at once.
 * Without this limit, deadlines would depend on the load of all checks, not on the store.
 */
export async function runLimited<T>(task: () => Promise<T>): Promise<T> {
  if (running < MAX_RUNNING) running++;
  else await new Promise<void>((resolve) => waiting.push(resolve));
  try {
    return await task();
  } finally {
    // The next task takes over the place without a decrement, so that no later call can take it first.
    const next = waiting.shift();
    if (next === undefined) running--;
    else next();
  }
}
