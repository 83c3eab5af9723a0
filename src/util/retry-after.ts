const MAX_SECONDS = 10;
/** Number of refused requests per second that adds a second to the longest wait. */
const REFUSALS_PER_SECOND = 50;

let periodEnd = 0;
let refusals = 0;

/**
 * Returns the seconds after which a refused client may try again: 1 to 10. Each refusal within a second makes the range longer,
 * because these clients are the queue that comes back. The value is random in this range, so that they do not come at once.
 */
export function retryAfterSeconds(now = performance.now()): number {
  if (now >= periodEnd) {
    periodEnd = now + 1000;
    refusals = 0;
  }
  const range = Math.min(MAX_SECONDS, 2 + refusals++ / REFUSALS_PER_SECOND);
  return 1 + Math.floor(Math.random() * range);
}
