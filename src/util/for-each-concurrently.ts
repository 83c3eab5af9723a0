/**
 * Calls `work` for the items in order, with at most `concurrency` calls in flight. After an error no further call is started;
 * the promise rejects with the first error once the calls in flight have settled.
 */
export async function forEachConcurrently<T>(
  items: AsyncIterable<T> | Iterable<T>,
  concurrency: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const errors: unknown[] = [];
  let running = 0;
  let onSettled = (): void => {};
  // Not Promise.race(), which adds a reaction to each pending promise for each item: thousands would run at once later.
  const settled = (): Promise<void> =>
    new Promise((resolve) => {
      onSettled = resolve;
    });
  try {
    for await (const item of items) {
      running++;
      work(item)
        .catch((error: unknown) => void errors.push(error))
        .finally(() => {
          running--;
          onSettled();
        });
      if (running >= concurrency) await settled();
      if (errors.length > 0) break;
    }
  } finally {
    while (running > 0) await settled();
  }
  if (errors.length > 0) throw errors[0];
}
