import test from 'ava';
import { assertMemoryPressure, fixedMemoryPressure, systemMemoryPressure } from '../../src/memory/pressure.js';
import { GIB, MIB } from './fixture.js';

test('the watermarks decide the level that is reported for this machine', (t) => {
  t.is(systemMemoryPressure({ softRatio: 1e-9 }).level, 'constrained');
  t.is(systemMemoryPressure({ softRatio: 1e-9, hardRatio: 2e-9 }).level, 'critical');
  t.is(systemMemoryPressure({ softRatio: 0.999, hardRatio: 1 }).level, 'normal');
  t.notThrows(() => systemMemoryPressure({ softRatio: undefined, hardRatio: 1 }));
});

test('rejects invalid options with the expected and the received value', (t) => {
  const code = 'ERR_HOTBLOB_INVALID_OPTION';
  for (const [options, message] of [
    [{ softRatio: 0 }, /0 < softRatio < hardRatio <= 1, received { softRatio: 0, hardRatio: 0.85 }/],
    [{ softRatio: 0.85 }, /0 < softRatio/],
    [{ softRatio: 0.9 }, /0 < softRatio/],
    [{ hardRatio: 1.01 }, /0 < softRatio/],
    [{ hardRatio: Number.NaN }, /received { softRatio: 0.7, hardRatio: NaN }/],
    [{ softRatio: -0.1 }, /0 < softRatio/],
    [{ hardRatio: '0.9' }, /^hardRatio: expected a number, received '0.9'$/],
    [{ softRatio: null }, /^softRatio: expected a number, received null$/],
    [{ softratio: 0.5 }, /^unknown option 'softratio'; expected one of softRatio, hardRatio$/],
    [null, /an object, received null/],
    ['0.7', /an object, received '0.7'/],
  ] as const) {
    // @ts-expect-error: a JavaScript caller can pass any value
    t.throws(() => systemMemoryPressure(options), { code, message });
  }
});

test('a fixed pressure never changes and rejects invalid levels and options', (t) => {
  t.deepEqual({ ...fixedMemoryPressure('critical') }, { level: 'critical', headroomBytes: 64 * MIB });
  t.is(fixedMemoryPressure('normal', { headroomBytes: 0 }).headroomBytes, 0);
  const code = 'ERR_HOTBLOB_INVALID_OPTION';
  // @ts-expect-error: a JavaScript caller can pass any value
  t.throws(() => fixedMemoryPressure('low'), { code, message: /'normal', 'constrained', 'critical', received 'low'/ });
  // @ts-expect-error: a JavaScript caller can pass any value
  t.throws(() => fixedMemoryPressure('normal', { headroom: 1 }), {
    code,
    message: /unknown option 'headroom'; expected one of headroomBytes/,
  });
  for (const headroomBytes of [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
    t.throws(() => fixedMemoryPressure('normal', { headroomBytes }), {
      code,
      message: /a whole number of bytes, 0 or more/,
    });
  }
});

test('a provider may omit the figures of its measurement, but not give them another type', (t) => {
  const required = { level: 'normal', headroomBytes: MIB } as const;
  const figures = { usedBytes: MIB, limitBytes: GIB, softBytes: 0, hardBytes: 0, sensor: 'container' };
  t.notThrows(() => assertMemoryPressure(required));
  t.notThrows(() => assertMemoryPressure({ ...required, ...figures }));
  t.notThrows(() => assertMemoryPressure({ ...required, limitBytes: undefined, sensor: undefined }));
  const code = 'ERR_HOTBLOB_INVALID_OPTION';
  for (const [name, value, message] of [
    ['limitBytes', '1GiB', "memory.limitBytes: expected a number, received '1GiB'"],
    ['usedBytes', null, 'memory.usedBytes: expected a number, received null'],
    ['sensor', 2, 'memory.sensor: expected a string, received 2'],
  ] as const) {
    t.throws(() => assertMemoryPressure({ ...required, [name]: value }), { code, message });
  }
});
