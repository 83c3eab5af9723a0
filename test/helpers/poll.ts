const INTERVAL_MS = 5;
/** Real time, also if a test replaces `performance.now()`. */
const now = performance.now.bind(performance);
/** A value counts as settled after it has not changed for this time and for this number of samples. */
const SETTLED_MS = 150;
const SETTLED_SAMPLES = 25;

/**
 * Polls until `condition` holds.
 *
 * @param description the condition as a clause, for the error message
 * @throws if the condition does not hold within `deadlineMs`
 */
export async function until(
  description: string,
  condition: () => boolean | Promise<boolean>,
  deadlineMs = 60_000,
): Promise<void> {
  const deadline = now() + deadlineMs;
  while (!(await condition())) {
    if (now() > deadline) throw new Error(`condition not met within ${deadlineMs} ms: ${description}`);
    await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS));
  }
}

/**
 * Polls until the value that `sample` returns no longer changes. Used where no event exists, for example when a server has
 * sent all that a client accepts. Samples are counted too: each one gives the server a turn of the event loop, so that a busy
 * machine cannot end the wait too early.
 */
export async function settled(sample: () => unknown): Promise<void> {
  let previous = '';
  let since = 0;
  let samples = 0;
  await until('the sampled value has settled', async () => {
    const current = JSON.stringify(await sample());
    if (current !== previous) {
      previous = current;
      since = performance.now();
      samples = 0;
    }
    return ++samples > SETTLED_SAMPLES && performance.now() - since >= SETTLED_MS;
  });
}
