import assert from 'node:assert/strict';
import { errnoCode } from '../../contract/errors.js';
import { assertEqual } from '../assert-equal.js';
import { chunkedBody, content } from '../bodies.js';
import { outcomeOf } from '../promises.js';
import type { Subject } from '../subject.js';
import { type Check, ifDeletable, ifWritable } from './check.js';

/** Keys like those of build tools. Every store must accept them. */
const BUILD_TOOL_KEYS = [
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

/** Valid keys that a store could normalize, truncate, decode or treat as special by mistake. */
const UNUSUAL_KEYS = [
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

const REJECTION_CODES = new Set<string | undefined>(['ERR_HOTBLOB_INVALID_KEY', 'ERR_HOTBLOB_KEY_TOO_LONG']);

/** Checks of keys that the handler accepts as valid. */
export const keys: readonly Check[] = [
  {
    title: 'stores the keys of build tools without mixing them up',
    async run(subject) {
      for (const [index, key] of BUILD_TOOL_KEYS.entries()) await subject.add(key, content(100 + index, index + 1));
      for (const [index, key] of BUILD_TOOL_KEYS.entries())
        await subject.assertHolds(key, content(100 + index, index + 1));
    },
  },
  {
    title: 'unusual keys are distinct, or rejected as invalid',
    applies: ifWritable,
    run: (subject) => assertDistinct(subject, UNUSUAL_KEYS),
  },
  {
    title: 'a key that is a path prefix of another is distinct from it, or rejected as invalid',
    applies: ifWritable,
    async run(subject) {
      await subject.put('p/q/r', content(1000));
      for (const key of ['p', 'p/q']) await assertMissOrRejected(subject, key);
      if (ifDeletable(subject.capabilities)) {
        const outcome = await outcomeOf(() => subject.delete('p/q'));
        if (outcome.ok) assertEqual(outcome.value, false, 'delete() of a path prefix of a key');
        else assertRejectionCode(outcome.error, 'delete() of a path prefix of a key');
      }
      await subject.assertHolds('p/q/r', content(1000));
      await assertDistinct(subject, ['a', 'a/b', 'a/b/c', 'd/e/f', 'd/e', 'd']);
    },
  },
];

async function assertDistinct(subject: Subject, candidates: readonly string[]): Promise<void> {
  const contents = new Map(candidates.map((key, index) => [key, content(100 + index, index + 1)]));
  const rejectedKeys = new Set<string>();
  for (const [key, bytes] of contents) {
    const upload = subject.upload(key, chunkedBody(bytes), { size: bytes.byteLength });
    const outcome = await subject.withDeadline(`put() to ${JSON.stringify(key)}`, upload);
    if (outcome.ok) continue;
    assertRejectionCode(outcome.error, `put() to ${JSON.stringify(key)}`);
    rejectedKeys.add(key);
  }
  for (const [key, bytes] of contents) {
    if (rejectedKeys.has(key)) await assertMissOrRejected(subject, key);
    else await subject.assertHolds(key, bytes);
  }
}

async function assertMissOrRejected(subject: Subject, key: string): Promise<void> {
  const outcome = await outcomeOf(() => subject.assertMiss(key));
  if (!outcome.ok && !REJECTION_CODES.has(errnoCode(outcome.error))) throw outcome.error;
}

function assertRejectionCode(error: unknown, what: string): void {
  if (REJECTION_CODES.has(errnoCode(error))) return;
  assert.fail(`${what}: expected success, or ${[...REJECTION_CODES].join(' or ')}, received ${String(error)}`);
}

/** Returns two keys of the maximum length, 1,024 bytes, that differ only in the last byte. */
function longestKeys(): string[] {
  const start = Array.from({ length: 5 }, (_, index) => String(index).repeat(203)).join('/');
  return ['/last', '/lasu'].map((end) => start + end);
}
