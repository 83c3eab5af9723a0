import { setImmediate as nextTurn } from 'node:timers/promises';
import test from 'ava';
import fc from 'fast-check';
import { forEachConcurrently } from '../../src/util/for-each-concurrently.js';

test('calls the function once for each item, in order, and up to the given number of times concurrently', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 30 }),
      fc.integer({ min: 1, max: 5 }),
      async (turns, concurrency) => {
        const started: number[] = [];
        let running = 0;
        let peak = 0;
        await forEachConcurrently(turns.entries(), concurrency, async ([index, count]) => {
          started.push(index);
          peak = Math.max(peak, ++running);
          for (let turn = 0; turn < count; turn++) await nextTurn();
          running--;
        });
        return (
          running === 0 && peak === Math.min(concurrency, turns.length) && started.join() === [...turns.keys()].join()
        );
      },
    ),
  );
  t.pass();
});

test('after an error, no further call is started and the promise rejects when the calls in flight have settled', async (t) => {
  const ended: number[] = [];
  const work = async (item: number): Promise<void> => {
    if (item === 2) throw new Error('two');
    await nextTurn();
    ended.push(item);
  };
  await t.throwsAsync(forEachConcurrently([1, 2, 3, 4, 5], 2, work), { message: 'two' });
  t.deepEqual(ended, [1]);
  async function* broken(): AsyncGenerator<number> {
    yield 6;
    throw new Error('no more');
  }
  await t.throwsAsync(forEachConcurrently(broken(), 2, work), { message: 'no more' });
  t.deepEqual(ended, [1, 6]);
});
