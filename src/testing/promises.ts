import assert from 'node:assert/strict';

/** Result of a settled promise. Unlike a rejected promise, it can be inspected later without an unhandled rejection. */
export type Outcome<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: unknown };

/** Calls `task` and resolves to its outcome. Never rejects, even if `task` throws synchronously. */
export async function outcomeOf<T>(task: () => T | Promise<T>): Promise<Outcome<T>> {
  try {
    return { ok: true, value: await task() };
  } catch (error) {
    return { ok: false, error };
  }
}

/**
 * Returns a promise that settles like `promise`, unless the deadline passes first.
 *
 * @param what names the operation in the error message
 * @throws AssertionError if `promise` is not settled after `timeoutMs`
 */
export async function withDeadline<T>(timeoutMs: number, what: string, promise: T | Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new assert.AssertionError({ message: `${what} did not settle within ${timeoutMs} ms` }));
    }, timeoutMs);
  });
  try {
    return await Promise.race([promise, deadline]);
  } finally {
    clearTimeout(timer);
  }
}

/** Resolves in the next turn of the event loop. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
