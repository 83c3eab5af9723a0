/** Checks of a process that run at the same time. */
const MOST = 4;

let running = 0;
const waiting: (() => void)[] = [];

/**
 * Runs a task when fewer than four others are running, first come first served. AVA starts all tests of a file at once:
 * deadlines would then say more about the crowd than about a store.
 */
export async function inTurn<T>(task: () => Promise<T>): Promise<T> {
  if (running < MOST) running++;
  else await new Promise<void>((resolve) => waiting.push(resolve));
  try {
    return await task();
  } finally {
    // Whose turn it is takes the place as it is, so that nobody slips in between.
    const next = waiting.shift();
    if (next === undefined) running--;
    else next();
  }
}
