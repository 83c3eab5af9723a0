import { setImmediate as nextTurn } from 'node:timers/promises';
import test from 'ava';
import fc from 'fast-check';
import { concurrently } from '../../src/cli/concurrently.js';

test('each item is worked on once, in order, and never more at a time than asked for', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 30 }),
      fc.integer({ min: 1, max: 5 }),
      async (turns, most) => {
        const begun: number[] = [];
        let running = 0;
        let peak = 0;
        await concurrently(turns.entries(), most, async ([index, count]) => {
          begun.push(index);
          peak = Math.max(peak, ++running);
          for (let turn = 0; turn < count; turn++) await nextTurn();
          running--;
        });
        return running === 0 && peak === Math.min(most, turns.length) && begun.join() === [...turns.keys()].join();
      },
    ),
  );
  t.pass();
});

test('an error ends it when what has begun is over', async (t) => {
  const ended: number[] = [];
  const work = async (item: number): Promise<void> => {
    if (item === 2) throw new Error('two');
    await nextTurn();
    ended.push(item);
  };
  await t.throwsAsync(concurrently([1, 2, 3, 4, 5], 2, work), { message: 'two' });
  t.deepEqual(ended, [1]);
  async function* broken(): AsyncGenerator<number> {
    yield 6;
    throw new Error('no more');
  }
  await t.throwsAsync(concurrently(broken(), 2, work), { message: 'no more' });
  t.deepEqual(ended, [1, 6]);
});
