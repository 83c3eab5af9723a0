import { isDeepStrictEqual } from 'node:util';
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

/** What 600 streams would get of a connection, one after the other: it shows all that a connection has in flight. */
function grants(connection: Connection): number[] {
  return Array.from({ length: 600 }, () => {
    const bytes = connection.room(64 * MIB);
    connection.grant(bytes);
    return bytes;
  });
}

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
    }
    while (open.length > 0) settle(0);
    return isDeepStrictEqual(grants(connection), grants(new Connection(true)));
  });
  t.notThrows(() => fc.assert(property, { numRuns: 300 }));
});

test('a session with 128 streams stays below what Node ends it at, each with something in flight', (t) => {
  const granted = grants(new Connection(true)).slice(0, 128);
  t.true(granted.every((bytes) => bytes >= 16 * KIB));
  const inFlight = granted.reduce((sum, bytes) => sum + bytes, 0);
  t.true(inFlight < 10_000_000, `${inFlight}`);
});

test('a session with very many streams gives each of them a little', (t) => {
  const granted = grants(new Connection(true));
  t.is(granted.at(-1), 4 * KIB);
});

test('a session that has sent for long is as good as new', (t) => {
  const connection = new Connection(true);
  for (let count = 0; count < 100_000; count++) {
    const bytes = connection.room(1 + (count % MIB));
    connection.settle(bytes, connection.grant(bytes));
  }
  t.deepEqual(grants(connection), grants(new Connection(true)));
});

test('a connection of HTTP/1.1 has one response at a time, and gives it what it asks for', (t) => {
  const connection = new Connection(false);
  t.is(connection.room(MIB), MIB);
  t.is(connection.grant(MIB), 0);
  connection.settle(MIB, 0);
  t.is(connection.room(MIB), MIB);
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
    t.is(window, 2 * MIB);
    t.is(connection.nextWindow(window, 1000), 16 * KIB);
    t.is(connection.firstWindow, 16 * KIB, 'the next response begins with what fitted');
  }
});
