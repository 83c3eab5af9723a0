import test from 'ava';
import { ByteBudget } from '../../../src/stores/s3/byte-budget.js';
import { never, refusal } from '../fixture.js';

const PART = 100;

test('takes bytes that are free at once, and gives them back only once', async (t) => {
  const budget = new ByteBudget(2 * PART, PART);
  const first = budget.open(1000, never());
  const second = budget.open(1000, never());
  await first.grow(50);
  await first.grow(10);
  await second.grow(40);
  t.is(budget.usedBytes, 100);
  await second.grow(0);
  first.release();
  first.release();
  t.is(budget.usedBytes, 40);
  second.release();
  t.is(budget.usedBytes, 0);
});

test('if no bytes are free, one part can still be filled, and then the next', async (t) => {
  const budget = new ByteBudget(2 * PART, PART);
  const parts = Array.from({ length: 10 }, () => budget.open(60_000, never()));
  for (const part of parts) await part.grow(PART / 10);
  const filled: number[] = [];
  await Promise.all(
    parts.map(async (part, index) => {
      await part.grow((9 * PART) / 10);
      filled.push(index);
      await new Promise(setImmediate);
      part.release();
    }),
  );
  t.deepEqual(filled, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  t.is(budget.usedBytes, 0);
});

test('serves waiters in order of arrival, even if a later one would fit', async (t) => {
  const { budget, full, last } = await usedUp(10);
  const order: string[] = [];
  const large = budget.open(1000, never());
  const waitingLarge = large.grow(50).then(() => order.push('large'));
  const small = budget.open(1000, never());
  const waitingSmall = small.grow(10).then(() => order.push('small'));
  await new Promise(setImmediate);
  t.deepEqual(order, []);
  full.release();
  await Promise.all([waitingLarge, waitingSmall]);
  t.deepEqual(order, ['large', 'small']);
  t.is(budget.usedBytes, 60);
  last.release();
});

test('a waiter that times out or aborts lets the next one proceed', async (t) => {
  const { budget } = await usedUp(10);
  const controller = new AbortController();
  for (const failToGrow of [
    () => t.throwsAsync(budget.open(20, never()).grow(50), refusal('ERR_HOTBLOB_OVERLOADED', /200 bytes/)),
    () => {
      const waiting = t.throwsAsync(budget.open(10_000, controller.signal).grow(50), { any: true, name: 'AbortError' });
      setImmediate(() => controller.abort());
      return waiting;
    },
  ]) {
    const failed = failToGrow();
    const next = budget.open(10_000, never());
    const waiting = next.grow(5);
    await failed;
    await waiting;
    next.release();
  }
  await t.throwsAsync(budget.open(1000, controller.signal).grow(1), { any: true, name: 'AbortError' });
  t.is(budget.usedBytes, 90);
});

/** Returns a budget with `free` shared bytes left, whose other part has taken the bytes that are set aside. */
async function usedUp(free: number) {
  const budget = new ByteBudget(2 * PART, PART);
  const full = budget.open(1000, never());
  await full.grow(PART - free);
  const last = budget.open(1000, never());
  await last.grow(free + 1);
  return { budget, full, last };
}
