import { mock } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';

interface FakeTimer {
  readonly callback: () => void;
  readonly intervalMs: number;
  dueAt: number;
}

/** Time in a test. It passes as usual, and faster when the test calls one of these functions. */
export interface FakeTime {
  /** Lets time pass, and calls the callback of each interval that has elapsed, once. Resolves in the next turn of the event loop. */
  advance(ms: number): Promise<void>;
  /** Sets the time of day forward, or back if `ms` is negative. Timers and `performance.now()` do not notice. */
  setClock(ms: number): void;
}

/** Replaces `Date.now()`, `performance.now()` and `setInterval()` until the end of the test. Only for serial tests. */
export function fakeTime(t: ExecutionContext): FakeTime {
  const { now } = Date;
  const { now: monotonicNow } = performance;
  const { clearInterval: clear } = globalThis;
  let clockOffset = 0;
  let elapsed = 0;
  const timers = new Set<FakeTimer>();
  performance.now = () => monotonicNow.call(performance) + elapsed;
  mock.method(Date, 'now', () => now() + clockOffset + elapsed);
  const set = (callback: () => void, intervalMs: number) => {
    const timer: FakeTimer = { callback, intervalMs, dueAt: elapsed + intervalMs };
    timers.add(timer);
    return Object.assign(timer, { unref: () => timer });
  };
  mock.method(globalThis, 'setInterval', set as unknown as typeof setInterval);
  mock.method(globalThis, 'clearInterval', (timer: FakeTimer & NodeJS.Timeout) => {
    if (!timers.delete(timer)) clear(timer);
  });
  t.teardown(() => {
    mock.restoreAll();
    performance.now = monotonicNow;
  });
  return {
    advance: async (ms) => {
      elapsed += ms;
      for (const timer of timers) {
        if (timer.dueAt > elapsed) continue;
        timer.dueAt = elapsed + timer.intervalMs;
        timer.callback();
      }
      await nextTurn();
    },
    setClock: (ms) => {
      clockOffset += ms;
    },
  };
}
