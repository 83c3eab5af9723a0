import assert from 'node:assert/strict';

/** How a step has ended; unlike a promise it may be looked at later without being an unhandled rejection until then. */
export type Outcome<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: unknown };

/** Runs a step, which may also throw at once. Never rejects. */
export async function outcomeOf<T>(step: () => T | Promise<T>): Promise<Outcome<T>> {
  try {
    return { ok: true, value: await step() };
  } catch (error) {
    return { ok: false, error };
  }
}

/** What a promise resolves to; fails, saying `what` has not ended, when that takes longer than `timeoutMs`. */
export async function within<T>(timeoutMs: number, what: string, promise: T | Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new assert.AssertionError({ message: `${what} has not ended within ${timeoutMs} ms` }));
    }, timeoutMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A turn of the event loop. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
