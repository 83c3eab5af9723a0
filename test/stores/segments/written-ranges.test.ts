import test from 'ava';
import { WrittenRanges } from '../../../src/stores/segments/written-ranges.js';

test('counts the bytes that have not been written, in any order and with overlaps', (t) => {
  const ranges = new WrittenRanges();
  t.is(ranges.unwrittenBytes(0, 100), 100);
  ranges.add(0, 10);
  ranges.add(50, 60);
  t.deepEqual(
    [ranges.unwrittenBytes(0, 100), ranges.unwrittenBytes(5, 55), ranges.unwrittenBytes(50, 60)],
    [80, 40, 0],
  );
  ranges.add(10, 20);
  ranges.add(45, 55);
  ranges.add(90, 90);
  t.deepEqual([ranges.unwrittenBytes(0, 100), ranges.unwrittenBytes(20, 45)], [65, 25]);
  ranges.add(15, 50);
  t.deepEqual([ranges.unwrittenBytes(0, 60), ranges.unwrittenBytes(0, 100)], [0, 40]);
});
