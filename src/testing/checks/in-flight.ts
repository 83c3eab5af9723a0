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
      await fillUntilEvicted(subject, 'key');
      await assertUntouched(subject, reading, bytes);
    },
  },
  {
    title: 'making room takes what is old, and never what was put last',
    applies: ifEvicting,
    async run(subject) {
      await subject.put('key', content(1000));
      await fillUntilEvicted(subject, 'key');
    },
  },
  {
    title: 'a file that is promised to be immutable is never truncated, nor written to where it has been read',
    applies: ifWritable,
    async run(subject) {
      const { largeBytes, capabilities } = subject;
      const overwriteBy = (length: number) => (key: string) => subject.put(key, content(length, 2));
      await assertImmutable(subject, 'shorter', overwriteBy(1000));
      await assertImmutable(subject, 'same', overwriteBy(largeBytes));
      await assertImmutable(subject, 'longer', overwriteBy(largeBytes + 1));
      if (capabilities.deletable) await assertImmutable(subject, 'deleted', (key) => subject.delete(key));
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

/** Fails where a file that is promised to be immutable is not, when `change` is made to its artifact. */
async function assertImmutable(
  subject: Subject,
  key: string,
  change: (key: string) => Promise<unknown>,
): Promise<void> {
  const bytes = content(subject.largeBytes);
  await subject.put(key, bytes);
  const reading = await subject.openFound(key);
  if (!(reading instanceof FileReading && reading.artifact.immutable === true)) return;
  await change(key);
  assertBytes(await reading.again(), bytes, 'what is left in the file');
  await subject.leave(reading);
}

async function assertUntouched(subject: Subject, reading: Reading, bytes: Buffer): Promise<void> {
  const outcome = await outcomeOf(() => subject.drain(reading));
  if (outcome.ok) assertBytes(outcome.value, bytes, 'what is read of an artifact that has gone meanwhile');
  else if (subject.capabilities.survivesDelete) throw outcome.error;
}

/**
 * Puts artifacts, each of which has to be there then, until the one under `key` has gone. That is looked at only when as
 * much has been put as the store may hold: to some, a look is a use.
 */
async function fillUntilEvicted(subject: Subject, key: string): Promise<void> {
  const { evictsAbove = 0 } = subject.capabilities;
  const length = Math.ceil(evictsAbove / FILLING);
  for (let count = 1; count <= 3 * FILLING; count++) {
    const bytes = content(length, count);
    await subject.put(`filling-${count}`, bytes);
    await subject.assertHolds(`filling-${count}`, bytes);
    if (count % FILLING === 0 && (await subject.open(key)) === undefined) return;
  }
  assert.fail(`nothing was evicted by ${3 * evictsAbove} bytes, although the store's capabilities say so`);
}
