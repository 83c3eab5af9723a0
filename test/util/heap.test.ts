import test from 'ava';
import fc from 'fast-check';
import { Heap } from '../../src/util/heap.js';

test('returns the items in their order, whatever the order of the calls', (t) => {
  const steps = fc.array(fc.oneof(fc.integer({ min: -20, max: 20 }), fc.constant(undefined)), { maxLength: 200 });
  fc.assert(
    fc.property(steps, (list) => {
      const heap = new Heap<number>((a, b) => a < b);
      const model: number[] = [];
      for (const step of list) {
        if (step === undefined) {
          t.is(heap.pop(), model.shift());
        } else {
          heap.push(step);
          model.push(step);
          model.sort((a, b) => a - b);
        }
        t.is(heap.size, model.length);
        t.deepEqual(
          [...heap].sort((a, b) => a - b),
          model,
        );
      }
    }),
  );
});
