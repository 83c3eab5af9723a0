import assert from 'node:assert/strict';
import { assertBytes, content } from '../bodies.js';
import { type Check, ifDeletable, ifWritable } from '../check.js';
import { FileReading, type Reading } from '../reading.js';
import { outcomeOf } from '../steps.js';
import type { Subject } from '../subject.js';

/** A store that makes room holds about this many of the artifacts that are put into it to fill it. */
const FILLING = 16;

const ifEvicting = ({ writable, evictsAbove }: { writable: boolean; evictsAbove: number | undefined }): boolean =>
  writable && evictsAbove !== undefined;

/** Reads that have begun when their artifact goes, and the store's making room. */
export const inFlight: readonly Check[] = [
  {
    title: 'a read in flight is not touched by an overwrite',
    applies: ifWritable,
    async run(subject) {
      const { reading, bytes } = await begun(subject);
      await subject.put('key', content(subject.largeBytes, 2));
      await subject.put('key', content(1000, 3));
      await assertUntouched(subject, reading, bytes);
      await subject.assertHolds('key', content(1000, 3));
    },
  },
  {
    title: 'a read in flight is not touched by a deletion',
    applies: ifDeletable,
    async run(subject) {
      const { reading, bytes } = await begun(subject);
      await subject.delete('key');
      await assertUntouched(subject, reading, bytes);
    },
  },
  {
    title: 'a read in flight is not touched by an eviction',
    applies: ifEvicting,
    async run(subject) {
      const { reading, bytes } = await begun(subject);
      await fillUntil(subject, async () => (await subject.open('key')) === undefined);
      await assertUntouched(subject, reading, bytes);
    },
  },
  {
    title: 'making room takes what is old, and never what was put last',
    applies: ifEvicting,
    async run(subject) {
      await subject.put('key', content(1000));
      await fillUntil(subject, async (key, bytes) => {
        await subject.assertHolds(key, bytes);
        return (await subject.open('key')) === undefined;
      });
    },
  },
  {
    title: 'a file that is promised to be immutable is never truncated, nor written to where it has been read',
    applies: ifWritable,
    async run(subject) {
      const bytes = content(subject.largeBytes);
      await subject.put('key', bytes);
      const reading = await subject.openFound('key');
      if (!(reading instanceof FileReading && reading.artifact.immutable === true)) return;
      const end = (reading.artifact.offset ?? 0) + bytes.byteLength;
      const assertSame = async (after: string): Promise<void> => {
        const now = await reading.again();
        assert(now.fileSize >= end, `${after} its file has been cut off at ${now.fileSize} of ${end} bytes`);
        assertBytes(now.bytes, bytes, `what is in the file ${after}`);
      };
      for (const length of [1000, subject.largeBytes, subject.largeBytes + 1]) {
        await subject.put('key', content(length, 2));
        await assertSame(`after an upload of ${length} bytes to its key`);
      }
      if (!subject.capabilities.deletable) return;
      await subject.delete('key');
      await assertSame('after a deletion');
    },
  },
];

/** Puts a large artifact, and reads the first bytes of it. */
async function begun(subject: Subject): Promise<{ readonly reading: Reading; readonly bytes: Buffer }> {
  const bytes = content(subject.largeBytes);
  await subject.put('key', bytes);
  const reading = await subject.openFound('key');
  await subject.step(reading);
  return { reading, bytes };
}

async function assertUntouched(subject: Subject, reading: Reading, bytes: Buffer): Promise<void> {
  const outcome = await outcomeOf(() => subject.drain(reading));
  if (outcome.ok) assertBytes(outcome.value, bytes, 'what is read of an artifact that has gone meanwhile');
  else if (subject.capabilities.survivesDelete) throw outcome.error;
}

/**
 * Puts artifacts until the store has made room, as `hasMadeRoom` finds out. It is asked when the store has got once more
 * what it may hold: for some, to look at an artifact is to use it.
 */
async function fillUntil(
  subject: Subject,
  hasMadeRoom: (key: string, bytes: Buffer) => Promise<boolean>,
): Promise<void> {
  const { evictsAbove = 0 } = subject.capabilities;
  const length = Math.ceil(evictsAbove / FILLING);
  for (let count = 1; count <= 3 * FILLING; count++) {
    const key = `filling-${count}`;
    const bytes = content(length, count);
    await subject.put(key, bytes);
    if (count % FILLING === 0 && (await hasMadeRoom(key, bytes))) return;
  }
  assert.fail(`the store has made no room after ${3 * evictsAbove} bytes; its capabilities say it does`);
}
