const INTERVAL_MS = 5;

/** Resolves once `condition` holds; fails, saying `what` did not come, after `deadlineMs`. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  deadlineMs = 10_000,
): Promise<void> {
  const deadline = performance.now() + deadlineMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not within ${deadlineMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS));
  }
}

/** Resolves once what `look` sees has been the same for 150 ms: everybody has come to a stop. */
export async function settled(look: () => unknown): Promise<void> {
  let seen = '';
  let since = performance.now();
  await until('nothing moves any more', async () => {
    const now = JSON.stringify(await look());
    if (now !== seen) {
      seen = now;
      since = performance.now();
    }
    return performance.now() - since >= 150;
  });
}
