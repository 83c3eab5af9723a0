import test from 'ava';
import { fixedMemoryPressure, systemMemoryPressure } from '../../src/memory/pressure.js';
import { MIB } from './fixture.js';

test('watermarks are options: this machine is above any that are low enough', (t) => {
  t.is(systemMemoryPressure({ softRatio: 1e-9 }).level, 'constrained');
  t.is(systemMemoryPressure({ softRatio: 1e-9, hardRatio: 2e-9 }).level, 'critical');
  t.is(systemMemoryPressure({ softRatio: 0.999, hardRatio: 1 }).level, 'normal');
  t.notThrows(() => systemMemoryPressure({ softRatio: undefined, hardRatio: 1 }));
});

test('options that cannot be are refused, with what was expected and found', (t) => {
  const code = 'ERR_HOTBLOB_INVALID_OPTION';
  for (const [options, message] of [
    [{ softRatio: 0 }, /0 < softRatio < hardRatio <= 1, found { softRatio: 0, hardRatio: 0.85 }/],
    [{ softRatio: 0.85 }, /0 < softRatio/],
    [{ softRatio: 0.9 }, /0 < softRatio/],
    [{ hardRatio: 1.01 }, /0 < softRatio/],
    [{ hardRatio: Number.NaN }, /found { softRatio: 0.7, hardRatio: NaN }/],
    [{ softRatio: -0.1 }, /0 < softRatio/],
    [{ hardRatio: '0.9' }, /^hardRatio: expected a number, received '0.9'$/],
    [{ softRatio: null }, /^softRatio: expected a number, received null$/],
    [{ softratio: 0.5 }, /^unknown option 'softratio'; expected one of softRatio, hardRatio$/],
    [null, /an object, received null/],
    ['0.7', /an object, received '0.7'/],
  ] as const) {
    // @ts-expect-error: what a caller without types may pass
    t.throws(() => systemMemoryPressure(options), { code, message });
  }
});

test('a fixed pressure stays, and refuses what it cannot be', (t) => {
  t.deepEqual({ ...fixedMemoryPressure('critical') }, { level: 'critical', headroomBytes: 64 * MIB });
  t.is(fixedMemoryPressure('normal', { headroomBytes: 0 }).headroomBytes, 0);
  const code = 'ERR_HOTBLOB_INVALID_OPTION';
  // @ts-expect-error: what a caller without types may pass
  t.throws(() => fixedMemoryPressure('low'), { code, message: /'normal', 'constrained', 'critical', received 'low'/ });
  // @ts-expect-error: what a caller without types may pass
  t.throws(() => fixedMemoryPressure('normal', { headroom: 1 }), {
    code,
    message: /unknown option 'headroom'; expected one of headroomBytes/,
  });
  for (const headroomBytes of [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
    t.throws(() => fixedMemoryPressure('normal', { headroomBytes }), {
      code,
      message: /a whole number of bytes from 0/,
    });
  }
});
