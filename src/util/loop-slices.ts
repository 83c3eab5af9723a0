/** Time for which work may block the event loop. */
const SLICE_MS = 2;

/** Functions that continue work in a later iteration of the event loop. */
const waiting: (() => void)[] = [];
/** Time at which work first called {@link pause} in this iteration. `undefined` if it has not. */
let startedAt: number | undefined;

/**
 * Divides long work into slices of about two milliseconds, so that other requests are served in between. Call it between
 * two steps. Returns `undefined` if the work may continue, otherwise a promise that resolves in a later iteration of the
 * event loop. All work of the process shares the slice of an iteration.
 */
export function pause(): Promise<void> | undefined {
  if (startedAt === undefined) {
    startedAt = performance.now();
    setImmediate(beginIteration);
    return undefined;
  }
  if (performance.now() - startedAt < SLICE_MS) return undefined;
  return new Promise((resolve) => waiting.push(resolve));
}

function beginIteration(): void {
  startedAt = undefined;
  const resume = waiting.shift();
  if (resume === undefined) return;
  startedAt = performance.now();
  setImmediate(beginIteration);
  resume();
}
