const INTERVAL_MS = 5;
/** So long, and so many times, nothing must change for everybody to have come to a stop. */
const STILL_MS = 150;
const STILL_LOOKS = 25;

/** Resolves once `condition` holds; fails, saying `what` did not come, after `deadlineMs`. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  deadlineMs = 60_000,
): Promise<void> {
  const deadline = performance.now() + deadlineMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not within ${deadlineMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS));
  }
}

/**
 * Resolves once what `look` sees no longer changes: there is no event for a client that cannot be sent any more. Looks are
 * counted too, because each gives the server a turn of its loop, and on a busy machine turns are what takes long.
 */
export async function settled(look: () => unknown): Promise<void> {
  let seen = '';
  let since = 0;
  let looks = 0;
  await until('nothing moves any more', async () => {
    const now = JSON.stringify(await look());
    if (now !== seen) {
      seen = now;
      since = performance.now();
      looks = 0;
    }
    return ++looks > STILL_LOOKS && performance.now() - since >= STILL_MS;
  });
}
