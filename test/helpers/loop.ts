/** Times of one piece of work, in milliseconds. */
export interface LoopTimes {
  readonly duration: number;
  /** Longest time for which the event loop was blocked. */
  readonly longestBlock: number;
}

/** Runs `work` and measures how long it blocks the event loop of this process. */
export async function measureLoop(work: () => Promise<unknown>): Promise<LoopTimes> {
  const startedAt = performance.now();
  let last = startedAt;
  let longestBlock = 0;
  let isRunning = true;
  const tick = (): void => {
    const now = performance.now();
    longestBlock = Math.max(longestBlock, now - last);
    last = now;
    if (isRunning) setImmediate(tick);
  };
  setImmediate(tick);
  await work();
  isRunning = false;
  tick();
  return { duration: performance.now() - startedAt, longestBlock };
}
