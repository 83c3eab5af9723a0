import test from 'ava';
import fc from 'fast-check';
import { DEFAULT_WATERMARKS, headroomOf, type MemoryPressureLevel, nextLevel } from '../../src/memory/level.js';
import { GIB, MIB } from './fixture.js';

const LEVELS: readonly MemoryPressureLevel[] = ['normal', 'constrained', 'critical'];
const rank = (level: MemoryPressureLevel) => LEVELS.indexOf(level);
const anyLevel = fc.constantFrom(...LEVELS);
const anyRatio = fc.double({ min: 0, max: 1.5, noNaN: true });
const anyWatermarks = fc
  .uniqueArray(fc.double({ min: 0.01, max: 1, noNaN: true }), { minLength: 2, maxLength: 2 })
  .map(([a = 0, b = 0]) => ({ softRatio: Math.min(a, b), hardRatio: Math.max(a, b) }));

test('a level applies at or above its watermark and never a tenth below it, after any level', (t) => {
  fc.assert(
    fc.property(anyLevel, anyRatio, anyWatermarks, (previous, used, watermarks) => {
      const { softRatio, hardRatio } = watermarks;
      const level = nextLevel(previous, used, watermarks);
      if (used >= hardRatio) t.is(level, 'critical');
      if (used >= softRatio) t.not(level, 'normal');
      if (used < hardRatio * 0.9) t.not(level, 'critical');
      if (used < softRatio * 0.9) t.is(level, 'normal');
    }),
  );
});

test('neither more usage nor a higher previous level lowers the level', (t) => {
  fc.assert(
    fc.property(anyLevel, anyLevel, anyRatio, anyRatio, anyWatermarks, (p, q, a, b, watermarks) => {
      const [lower, higher] = rank(p) <= rank(q) ? [p, q] : [q, p];
      const least = nextLevel(lower, Math.min(a, b), watermarks);
      t.true(rank(least) <= rank(nextLevel(lower, Math.max(a, b), watermarks)));
      t.true(rank(least) <= rank(nextLevel(higher, Math.min(a, b), watermarks)));
    }),
  );
});

test('the level does not flap while usage varies by less than a tenth of a watermark', (t) => {
  const variation = fc.array(fc.double({ min: 0.951, max: 1.049, noNaN: true }), { minLength: 2, maxLength: 40 });
  fc.assert(
    fc.property(fc.constantFrom(0.7, 0.85), variation, (watermark, factors) => {
      let level: MemoryPressureLevel = 'normal';
      const changes: MemoryPressureLevel[] = [];
      for (const factor of factors) {
        const next = nextLevel(level, watermark * factor, DEFAULT_WATERMARKS);
        if (next !== level) changes.push(next);
        level = next;
      }
      // Each level is entered at most once, in ascending order.
      t.deepEqual(
        changes,
        [...new Set(changes)].sort((a, b) => rank(a) - rank(b)),
      );
    }),
  );
});

test('headroom is the distance between the watermarks, from 64 MiB to 512 MiB', (t) => {
  t.is(headroomOf(2000 * MIB, DEFAULT_WATERMARKS), 300 * MIB);
  t.is(headroomOf(100 * MIB, DEFAULT_WATERMARKS), 64 * MIB);
  t.is(headroomOf(64 * GIB, DEFAULT_WATERMARKS), 512 * MIB);
});
