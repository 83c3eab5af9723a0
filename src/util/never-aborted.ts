/** Returns a new signal that never aborts: the default of an optional `signal`. */
export function neverAborted(): AbortSignal {
  // A signal that all callers share would accumulate their listeners.
  return new AbortController().signal;
}
