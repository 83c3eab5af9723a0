/** Number of deletions that are committed together. More would block the event loop while they are written to the index. */
export const MAX_DELETIONS = 64;

/** Waits until all deletions have settled. Then rejects with the error of the first one that failed, if any did. */
export async function settleAll(deletions: readonly Promise<void>[]): Promise<void> {
  const results = await Promise.allSettled(deletions);
  const failed = results.find(({ status }) => status === 'rejected');
  if (failed !== undefined && 'reason' in failed) throw failed.reason;
}
