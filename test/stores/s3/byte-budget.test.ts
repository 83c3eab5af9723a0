import test from 'ava';
import { ByteBudget } from '../../../src/stores/s3/byte-budget.js';
import { never, refusal } from '../fixture.js';

test('what fits is given at once, and given back once', async (t) => {
  const budget = new ByteBudget(100);
  const first = await budget.take(60, 1000, never());
  const second = await budget.take(40, 1000, never());
  t.is(budget.usedBytes, 100);
  await budget.take(0, 1000, never());
  first();
  first();
  t.is(budget.usedBytes, 40);
  second();
  t.is(budget.usedBytes, 0);
});

test('who waits is served in the order of coming, however little would fit', async (t) => {
  const budget = new ByteBudget(100);
  const release = await budget.take(90, 1000, never());
  const order: string[] = [];
  const large = budget.take(50, 1000, never()).then((done) => {
    order.push('large');
    return done;
  });
  const small = budget.take(10, 1000, never()).then((done) => {
    order.push('small');
    return done;
  });
  await new Promise(setImmediate);
  t.deepEqual(order, []);
  release();
  await Promise.all([large, small]);
  t.deepEqual(order, ['large', 'small']);
  t.is(budget.usedBytes, 60);
});

test('who gives up makes way for the others', async (t) => {
  const budget = new ByteBudget(100);
  await budget.take(90, 1000, never());
  const controller = new AbortController();
  for (const giveUp of [
    () => t.throwsAsync(budget.take(50, 20, never()), refusal('ERR_HOTBLOB_OVERLOADED', /100 bytes/)),
    () => {
      const waiting = t.throwsAsync(budget.take(50, 10_000, controller.signal), { any: true, name: 'AbortError' });
      setImmediate(() => controller.abort());
      return waiting;
    },
  ]) {
    const gone = giveUp();
    const next = budget.take(5, 10_000, never());
    await gone;
    (await next)();
  }
  await t.throwsAsync(budget.take(1, 1000, controller.signal), { any: true, name: 'AbortError' });
  t.is(budget.usedBytes, 90);
});
