import { setImmediate } from 'node:timers/promises';
import test from 'ava';
import { paced } from '../../src/handler/upload-pace.js';

/** No other timer of the process has this delay. */
const TIMEOUT_MS = 17;

async function* heldOpen(): AsyncGenerator<Uint8Array> {
  yield Buffer.from('abc');
  await new Promise(() => {});
}

// Serial, because it replaces a global function.
test.serial('an upload that ends when its timer has just fired leaves no timer', async (t) => {
  const { setTimeout: original } = globalThis;
  let armed = 0;
  let onFired = (): void => {};
  const fired = new Promise<void>((resolve) => {
    onFired = resolve;
  });
  const body = paced(heldOpen(), { uploadTimeoutMs: TIMEOUT_MS, minUploadBytesPerSecond: 1 });
  const counting = (callback: () => void, ms?: number): NodeJS.Timeout => {
    if (ms !== TIMEOUT_MS) return original(callback, ms);
    armed++;
    return original(() => {
      callback();
      // The store stops reading before the timer's check runs.
      void body.return(undefined).catch(() => {});
      onFired();
    }, ms);
  };
  globalThis.setTimeout = Object.assign(counting, { __promisify__: original.__promisify__ });
  // The timer of an upload does not keep the process running.
  const alive = setInterval(() => {}, 1000);
  t.teardown(() => {
    clearInterval(alive);
    globalThis.setTimeout = original;
  });
  t.is((await body.next()).value?.toString(), 'abc');
  await fired;
  for (let turn = 0; turn < 3; turn++) await setImmediate();
  t.is(armed, 1);
});
