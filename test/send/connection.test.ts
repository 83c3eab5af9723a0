import test from 'ava';
import fc from 'fast-check';
import { Connection } from '../../src/send/connection.js';
import { KIB, MIB } from '../helpers/files.js';

const SURPLUS = 6 * MIB;
/** A grant, or the settlement of one of those that are open. */
const steps = fc.array(
  fc.oneof(fc.record({ wanted: fc.integer({ min: 1, max: MIB }) }), fc.record({ settled: fc.nat() })) as fc.Arbitrary<{
    wanted?: number;
    settled?: number;
  }>,
  { maxLength: 400 },
);

test('a session: the surplus is never exceeded, nobody gets nothing, and all is settled in the end', (t) => {
  const property = fc.property(steps, (sequence) => {
    const connection = new Connection(true);
    const open: { bytes: number; surplus: number }[] = [];
    const settle = (index: number): void => {
      const [grant] = open.splice(index, 1);
      if (grant !== undefined) connection.settle(grant.bytes, grant.surplus);
    };
    for (const { wanted, settled } of sequence) {
      if (wanted !== undefined) {
        const bytes = connection.room(wanted);
        if (bytes < Math.min(wanted, 4 * KIB) || bytes > wanted) throw new Error(`${bytes} of ${wanted}`);
        open.push({ bytes, surplus: connection.grant(bytes) });
      } else if (open.length > 0) settle((settled ?? 0) % open.length);
      const surplus = open.reduce((sum, grant) => sum + grant.surplus, 0);
      if (surplus > SURPLUS) throw new Error(`a surplus of ${surplus}`);
      if (connection.inFlightBytes !== open.reduce((sum, { bytes }) => sum + bytes, 0)) throw new Error('miscounted');
    }
    while (open.length > 0) settle(0);
    return connection.inFlightBytes === 0;
  });
  t.notThrows(() => fc.assert(property, { numRuns: 300 }));
});

test('a session with 128 streams stays below what Node ends it at, each with something in flight', (t) => {
  const connection = new Connection(true);
  for (let stream = 0; stream < 128; stream++) {
    const bytes = connection.room(MIB);
    t.true(bytes >= 16 * KIB);
    connection.grant(bytes);
  }
  t.true(connection.inFlightBytes < 10_000_000, `${connection.inFlightBytes}`);
});

test('a connection of HTTP/1.1 has one response at a time, and gives it what it asks for', (t) => {
  const connection = new Connection(false);
  t.is(connection.room(MIB), MIB);
  t.is(connection.grant(MIB), 0);
  connection.settle(MIB, 0);
  t.is(connection.inFlightBytes, 0);
});

test('windows grow while they leave promptly, and shrink at once when they do not', (t) => {
  for (const [multiplexed, first] of [
    [false, 256 * KIB],
    [true, 64 * KIB],
  ] as const) {
    const connection = new Connection(multiplexed);
    let window = connection.firstWindow;
    t.is(window, first);
    for (let count = 0; count < 10; count++) window = connection.nextWindow(window, 1);
    t.is(window, MIB);
    t.is(connection.nextWindow(window, 1000), 16 * KIB);
    t.is(connection.firstWindow, 16 * KIB, 'the next response begins with what fitted');
  }
});
