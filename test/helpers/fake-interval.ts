import { mock } from 'node:test';
import type { ExecutionContext } from 'ava';

/** Replaces setInterval() and clearInterval() until the end of the test, for one timer. The test advances the time. */
export function fakeInterval(t: ExecutionContext): { isRunning(): boolean; advance(ms: number): void } {
  let timer: { readonly callback: () => void; readonly intervalMs: number } | undefined;
  const set = (callback: () => void, intervalMs: number) => {
    timer = { callback, intervalMs };
    return { unref: () => timer };
  };
  mock.method(globalThis, 'setInterval', set as unknown as typeof setInterval);
  mock.method(globalThis, 'clearInterval', () => {
    timer = undefined;
  });
  t.teardown(() => mock.restoreAll());
  return {
    isRunning: () => timer !== undefined,
    advance: (ms) => {
      let remainingMs = ms;
      while (timer !== undefined && timer.intervalMs <= remainingMs) {
        remainingMs -= timer.intervalMs;
        timer.callback();
      }
    },
  };
}
