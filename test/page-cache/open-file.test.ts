import { openSync, statSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { loadBindings } from '../../src/page-cache/bindings.js';
import { OpenFile } from '../../src/page-cache/open-file.js';
import { canTrustMincore } from '../../src/page-cache/residency.js';
import { KIB, MIB, temporaryDirectory, writePattern } from '../helpers/files.js';

const PIECE = 64 * KIB;

async function openFile(t: ExecutionContext, size: number): Promise<OpenFile> {
  const directory = await temporaryDirectory(t);
  writePattern(directory, 'file', size, 1);
  const path = join(directory, 'file');
  const stats = statSync(path, { bigint: true });
  const file = new OpenFile(
    { kind: 'file', path },
    openSync(path, 'r'),
    stats,
    performance.now(),
    loadBindings(),
    () => {},
  );
  t.teardown(() => file.retire());
  return file;
}

test('what is lent to several counts once, and is free when the last one has given it back', async (t) => {
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
      const pieces = new Set<number>();
      for (const { start, end } of open) {
        for (let piece = Math.floor(start / PIECE); piece * PIECE < end; piece++) pieces.add(piece);
      }
      if (counted !== pieces.size * PIECE) throw new Error(`${counted} counted, ${pieces.size * PIECE} lent`);
    };
    for (const { start, length, order } of sequence) {
      const end = Math.min(start + length, 4 * MIB + 5);
      counted += file.lend(start, end);
      open.push({ start, end });
      check();
      if (order % 3 === 0) {
        const [window] = open.splice(order % open.length, 1);
        if (window !== undefined) counted -= file.takeBack(window.start, window.end);
        check();
      }
    }
    for (const { start, end } of open.splice(0)) counted -= file.takeBack(start, end);
    return counted === 0;
  });
  t.notThrows(() => fc.assert(property, { numRuns: 200 }));
});

test('mincore is believed of files that this user owns', (t) => {
  const isRoot = process.geteuid?.() === 0;
  t.true(canTrustMincore({ uid: BigInt(process.geteuid?.() ?? 0) }));
  t.is(canTrustMincore({ uid: 54321n }), isRoot);
});

test('what is not the user\u2019s is not believed once root has been given up, and again when it is taken back', (t) => {
  if (process.geteuid?.() !== 0) {
    t.log('only root has something to give up');
    t.not(process.env['CI'], 'true', 'nothing is left out there');
    return;
  }
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
  return undefined;
});
