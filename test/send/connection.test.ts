import { isDeepStrictEqual } from 'node:util';
import test from 'ava';
import fc from 'fast-check';
import { Connection } from '../../src/send/connection.js';
import { KIB, MIB } from '../helpers/files.js';

const MAX_SHARED_BYTES = 6 * MIB;
/** Each step reserves bytes, or releases one of the reservations. */
const steps = fc.array(
  fc.oneof(fc.record({ reserve: fc.integer({ min: 1, max: MIB }) }), fc.record({ release: fc.nat() })) as fc.Arbitrary<{
    reserve?: number;
    release?: number;
  }>,
  { maxLength: 400 },
);

/** Reserves bytes for 600 streams, one after the other. The result shows the whole state of a connection. */
function reserveForStreams(connection: Connection): number[] {
  return Array.from({ length: 600 }, () => {
    const bytes = connection.availableBytes(64 * MIB);
    connection.reserve(bytes);
    return bytes;
  });
}

test('a session never exceeds its shared bytes, gives each stream some bytes, and returns to its initial state', (t) => {
  const property = fc.property(steps, (sequence) => {
    const connection = new Connection(true);
    const reservations: { bytes: number; sharedBytes: number }[] = [];
    const release = (index: number): void => {
      const [reservation] = reservations.splice(index, 1);
      if (reservation !== undefined) connection.release(reservation.bytes, reservation.sharedBytes);
    };
    for (const step of sequence) {
      if (step.reserve !== undefined) {
        const bytes = connection.availableBytes(step.reserve);
        if (bytes < Math.min(step.reserve, 4 * KIB) || bytes > step.reserve) {
          throw new Error(`${bytes} of ${step.reserve} bytes`);
        }
        reservations.push({ bytes, sharedBytes: connection.reserve(bytes) });
      } else if (reservations.length > 0) release((step.release ?? 0) % reservations.length);
      const sharedBytes = reservations.reduce((sum, reservation) => sum + reservation.sharedBytes, 0);
      if (sharedBytes > MAX_SHARED_BYTES) throw new Error(`${sharedBytes} shared bytes`);
    }
    while (reservations.length > 0) release(0);
    return isDeepStrictEqual(reserveForStreams(connection), reserveForStreams(new Connection(true)));
  });
  t.notThrows(() => fc.assert(property, { numRuns: 300 }));
});

test('a session with 128 streams stays below the memory limit of Node, and each stream has bytes in flight', (t) => {
  const reserved = reserveForStreams(new Connection(true)).slice(0, 128);
  t.true(reserved.every((bytes) => bytes >= 16 * KIB));
  const inFlight = reserved.reduce((sum, bytes) => sum + bytes, 0);
  t.true(inFlight < 10_000_000, `${inFlight}`);
});

test('a session with 600 streams gives each of them 4 KiB', (t) => {
  const reserved = reserveForStreams(new Connection(true));
  t.is(reserved.at(-1), 4 * KIB);
});

test('100,000 windows, reserved and released, leave a session in its initial state', (t) => {
  const connection = new Connection(true);
  for (let count = 0; count < 100_000; count++) {
    const bytes = connection.availableBytes(1 + (count % MIB));
    connection.release(bytes, connection.reserve(bytes));
  }
  t.deepEqual(reserveForStreams(connection), reserveForStreams(new Connection(true)));
});

test('an HTTP/1.1 connection has one response at a time and does not limit it', (t) => {
  const connection = new Connection(false);
  t.is(connection.availableBytes(MIB), MIB);
  t.is(connection.reserve(MIB), 0);
  connection.release(MIB, 0);
  t.is(connection.availableBytes(MIB), MIB);
});

test('windows double while they leave promptly, and shrink to 16 KiB when one does not', (t) => {
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
    t.is(connection.firstWindow, 16 * KIB, 'the next response starts with the last window size');
  }
});
