import test from 'ava';
import { ByteBudget } from '../../../src/stores/s3/byte-budget.js';
import { never, refusal } from '../fixture.js';

test('reserves bytes that are free at once, and releases them only once', async (t) => {
  const budget = new ByteBudget(100);
  const releaseFirst = await budget.reserve(60, 1000, never());
  const releaseSecond = await budget.reserve(40, 1000, never());
  t.is(budget.usedBytes, 100);
  await budget.reserve(0, 1000, never());
  releaseFirst();
  releaseFirst();
  t.is(budget.usedBytes, 40);
  releaseSecond();
  t.is(budget.usedBytes, 0);
});

test('serves waiters in order of arrival, even if a later one would fit', async (t) => {
  const budget = new ByteBudget(100);
  const release = await budget.reserve(90, 1000, never());
  const order: string[] = [];
  const large = budget.reserve(50, 1000, never()).then((releaseLarge) => {
    order.push('large');
    return releaseLarge;
  });
  const small = budget.reserve(10, 1000, never()).then((releaseSmall) => {
    order.push('small');
    return releaseSmall;
  });
  await new Promise(setImmediate);
  t.deepEqual(order, []);
  release();
  await Promise.all([large, small]);
  t.deepEqual(order, ['large', 'small']);
  t.is(budget.usedBytes, 60);
});

test('a waiter that times out or aborts lets the next one proceed', async (t) => {
  const budget = new ByteBudget(100);
  await budget.reserve(90, 1000, never());
  const controller = new AbortController();
  for (const failToReserve of [
    () => t.throwsAsync(budget.reserve(50, 20, never()), refusal('ERR_HOTBLOB_OVERLOADED', /100 bytes/)),
    () => {
      const waiting = t.throwsAsync(budget.reserve(50, 10_000, controller.signal), { any: true, name: 'AbortError' });
      setImmediate(() => controller.abort());
      return waiting;
    },
  ]) {
    const failed = failToReserve();
    const next = budget.reserve(5, 10_000, never());
    await failed;
    (await next)();
  }
  await t.throwsAsync(budget.reserve(1, 1000, controller.signal), { any: true, name: 'AbortError' });
  t.is(budget.usedBytes, 90);
});
