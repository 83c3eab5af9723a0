import assert from 'node:assert/strict';
import { errnoCode } from '../../contract/errors.js';
import { arriving, content } from '../bodies.js';
import { type Check, ifDeletable, ifWritable } from '../check.js';
import { outcomeOf } from '../steps.js';
import type { Subject } from '../subject.js';

/** What build tools use: every store has to take these. */
const ORDINARY = [
  `ac/${'0f'.repeat(32)}`,
  `cas/${'0f'.repeat(32)}`,
  `cas/${'f0'.repeat(32)}`,
  'v8/artifacts/0123456789abcdef',
  'v1/cache/12345678901234567890',
  '1a/48rfv0123456789abcdefghijklmnopq',
  `a/b/c/${'ab'.repeat(32)}`,
  'deadbeef'.repeat(9),
  'with-dashes_underscores.and.dots',
  '.sccache_check',
];

const LONGEST_SEGMENT = 'k'.repeat(255);

/** What is a key as well, and what stores have mixed up, normalised, cut off or taken for something else. */
const ODD = [
  ...['case', 'CASE', 'Case'],
  ...['with space', 'with+space', 'with%20space', ' with space', 'with space '],
  ...['x/y', 'x_y', 'x-y', 'x:y', 'x%2Fy', 'x%2fy', 'x y'],
  ...['\u00e9', 'e\u0301', '\u65e5\u672c/\u8a9e', '\u{1f680}', '\u{1f680}\u{1f680}', '\ufeff', '\u00a0'],
  ...['...', '..a', 'a..', '.a', 'a.', '.hidden/.too', '%2e%2e', '~', '-', '--help', '*', '?'],
  ...['a?b=c', 'a#b', 'a&b', 'a;b', 'a"b', "a'b", 'a<b>', 'a|b', 'a,b', '$HOME', '`a`', '{a}', '[a]', '@', '!'],
  ...['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'then', 'null', 'undefined', '0', 'NaN'],
  ...['con', 'nul.txt', 'lock', 'tmp/key', 'key.tmp', 'key.lock', 'data.mdb', 'uploads/key'],
  ...[LONGEST_SEGMENT, `${LONGEST_SEGMENT.slice(1)}x`, `${LONGEST_SEGMENT}k`, `${LONGEST_SEGMENT}x`],
  ...longestKeys(),
];

const REFUSALS = new Set<string | undefined>(['ERR_HOTBLOB_INVALID_KEY', 'ERR_HOTBLOB_KEY_TOO_LONG']);

/** Whatever a handler lets through as a key. */
export const keys: readonly Check[] = [
  {
    title: 'the keys of build tools are all taken, and kept apart',
    async run(subject) {
      for (const [index, key] of ORDINARY.entries()) await subject.fill(key, content(100 + index, index + 1));
      for (const [index, key] of ORDINARY.entries()) await subject.assertHolds(key, content(100 + index, index + 1));
    },
  },
  {
    title: 'odd keys are kept apart, or refused as keys',
    applies: ifWritable,
    run: (subject) => assertKeptApart(subject, ODD),
  },
  {
    title: 'a key that another one begins with is kept apart from it, or refused as a key',
    applies: ifWritable,
    async run(subject) {
      await subject.put('p/q/r', content(1000));
      for (const key of ['p', 'p/q']) await assertMissOrRefused(subject, key);
      if (ifDeletable(subject.capabilities)) {
        const outcome = await outcomeOf(() => subject.delete('p/q'));
        if (outcome.ok) assert.equal(outcome.value, false, 'delete() of what is only the beginning of a key');
        else assertRefusal(outcome.error, 'delete() of what is only the beginning of a key');
      }
      await subject.assertHolds('p/q/r', content(1000));
      await assertKeptApart(subject, ['a', 'a/b', 'a/b/c', 'd/e/f', 'd/e', 'd']);
    },
  },
];

async function assertKeptApart(subject: Subject, candidates: readonly string[]): Promise<void> {
  const contents = new Map(candidates.map((key, index) => [key, content(100 + index, index + 1)]));
  const refusedKeys = new Set<string>();
  for (const [key, bytes] of contents) {
    const upload = subject.upload(key, arriving(bytes), { size: bytes.byteLength });
    const outcome = await subject.within(`put() to ${JSON.stringify(key)}`, upload);
    if (outcome.ok) continue;
    assertRefusal(outcome.error, `put() to ${JSON.stringify(key)}`);
    refusedKeys.add(key);
  }
  for (const [key, bytes] of contents) {
    if (refusedKeys.has(key)) await assertMissOrRefused(subject, key);
    else await subject.assertHolds(key, bytes);
  }
}

async function assertMissOrRefused(subject: Subject, key: string): Promise<void> {
  const outcome = await outcomeOf(() => subject.assertMiss(key));
  if (!outcome.ok && !REFUSALS.has(errnoCode(outcome.error))) throw outcome.error;
}

function assertRefusal(error: unknown, what: string): void {
  if (REFUSALS.has(errnoCode(error))) return;
  assert.fail(`${what} may be refused with ${[...REFUSALS].join(' or ')}, found: ${String(error)}`);
}

/** Two keys of 1,024 bytes, the most that there is, that differ only in the last one. */
function longestKeys(): string[] {
  const start = Array.from({ length: 5 }, (_, index) => String(index).repeat(203)).join('/');
  return ['/last', '/lasu'].map((end) => start + end);
}
