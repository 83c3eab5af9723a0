/**
 * Returns whether a response with a status counts as an error: 0, which means that it ended before its status was known, or 400 or
 * more. A miss (404) and an unmet precondition (412) are normal answers of a cache.
 */
export function isErrorStatus(status: number): boolean {
  return status === 0 || (status >= 400 && status !== 404 && status !== 412);
}
