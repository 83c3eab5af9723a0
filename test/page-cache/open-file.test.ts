import { openSync, statSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { loadBindings } from '../../src/page-cache/bindings.js';
import { OpenFile } from '../../src/page-cache/open-file.js';
import { canTrustMincore } from '../../src/page-cache/residency.js';
import { KIB, MIB, temporaryDirectory, writePattern } from '../helpers/files.js';
import { testWith } from '../helpers/peers.js';

/** Unit in which leases are counted. */
const UNIT = 64 * KIB;

async function openFile(t: ExecutionContext, size: number, bindings = loadBindings()): Promise<OpenFile> {
  const directory = await temporaryDirectory(t);
  writePattern(directory, 'file', size, 1);
  const path = join(directory, 'file');
  const stats = statSync(path, { bigint: true });
  const file = new OpenFile({ kind: 'file', path }, openSync(path, 'r'), stats, performance.now(), bindings, () => {});
  t.teardown(() => file.retire());
  return file;
}

test('bytes with several leases count once, until the last lease is released', async (t) => {
  const file = await openFile(t, 4 * MIB + 5);
  const windows = fc.array(
    fc.record({
      start: fc.integer({ min: 0, max: 4 * MIB }),
      length: fc.integer({ min: 1, max: MIB }),
      order: fc.nat(),
    }),
    { maxLength: 40 },
  );
  const property = fc.property(windows, (sequence) => {
    const open: { start: number; end: number }[] = [];
    let counted = 0;
    const check = (): void => {
      const units = new Set<number>();
      for (const { start, end } of open) {
        for (let unit = Math.floor(start / UNIT); unit * UNIT < end; unit++) units.add(unit);
      }
      if (counted !== units.size * UNIT) throw new Error(`${counted} counted, ${units.size * UNIT} leased`);
    };
    for (const { start, length, order } of sequence) {
      const end = Math.min(start + length, 4 * MIB + 5);
      counted += file.lease(start, end);
      open.push({ start, end });
      check();
      if (order % 3 === 0) {
        const [window] = open.splice(order % open.length, 1);
        if (window !== undefined) counted -= file.releaseLease(window.start, window.end);
        check();
      }
    }
    for (const { start, end } of open.splice(0)) counted -= file.releaseLease(start, end);
    return counted === 0;
  });
  t.notThrows(() => fc.assert(property, { numRuns: 200 }));
});

test('a file that the kernel could not map once is mapped later', async (t) => {
  const bindings = loadBindings();
  let isRefused = true;
  const file = await openFile(t, MIB, {
    ...bindings,
    map: (...region) => (isRefused ? 'map-failed' : bindings.map(...region)),
  });
  t.is(file.mapped(0, 64 * KIB), 'map-failed');
  isRefused = false;
  const window = file.mapped(0, 64 * KIB);
  if (typeof window === 'string') return t.fail(window);
  t.is(window.bytes.byteLength, 64 * KIB);
  file.releaseMapped(window);
});

test('mincore is trusted for files of this user, and by root for all files', (t) => {
  const isRoot = process.geteuid?.() === 0;
  t.true(canTrustMincore({ uid: BigInt(process.geteuid?.() ?? 0) }));
  t.is(canTrustMincore({ uid: 54321n }), isRoot);
});

// Serial, because the effective user is the same for all tests of a process.
testWith(test.serial, 'root')('mincore is not trusted for files of other users while the process is not root', (t) => {
  const file = { uid: 0n };
  t.true(canTrustMincore(file));
  process.seteuid?.(65534);
  try {
    t.false(canTrustMincore(file));
    t.true(canTrustMincore({ uid: 65534n }));
  } finally {
    process.seteuid?.(0);
  }
  t.true(canTrustMincore(file));
});
