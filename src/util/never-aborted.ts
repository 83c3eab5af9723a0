/** Returns a new signal that never aborts: the default of an optional `signal`. */
export function neverAborted(): AbortSignal {
  // One signal for all callers would collect their listeners.
  return new AbortController().signal;
}
