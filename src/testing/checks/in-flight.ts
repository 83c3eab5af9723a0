import assert from 'node:assert/strict';
import { type ArtifactReader, FileArtifactReader } from '../artifact-reader.js';
import { assertBytes, content } from '../bodies.js';
import { outcomeOf } from '../promises.js';
import type { Subject } from '../subject.js';
import { type Check, ifDeletable, ifWritable } from './check.js';

/** Number of artifacts that fill a store up to `evictsAbove`. */
const ARTIFACTS_TO_FILL = 16;

const ifEvicting = ({ writable, evictsAbove }: { writable: boolean; evictsAbove: number | undefined }): boolean =>
  writable && evictsAbove !== undefined;

/** Checks of reads in flight whose artifact is replaced or removed, and checks of eviction. */
export const inFlight: readonly Check[] = [
  {
    title: 'an overwrite does not affect a read in flight',
    applies: ifWritable,
    async run(subject) {
      const { reader, bytes } = await startRead(subject);
      await subject.put('key', content(subject.largeBytes, 2));
      await subject.put('key', content(1000, 3));
      await assertUnaffected(subject, reader, bytes);
      await subject.assertHolds('key', content(1000, 3));
    },
  },
  {
    title: 'a deletion does not affect a read in flight',
    applies: ifDeletable,
    async run(subject) {
      const { reader, bytes } = await startRead(subject);
      await subject.delete('key');
      await assertUnaffected(subject, reader, bytes);
    },
  },
  {
    title: 'an eviction does not affect a read in flight',
    applies: ifEvicting,
    async run(subject) {
      const { reader, bytes } = await startRead(subject);
      await fillUntilEvicted(subject, 'key');
      await assertUnaffected(subject, reader, bytes);
    },
  },
  {
    title: 'evicts old artifacts, never the latest upload',
    applies: ifEvicting,
    async run(subject) {
      await subject.put('key', content(1000));
      await fillUntilEvicted(subject, 'key');
    },
  },
  {
    title: 'an immutable file is never truncated or rewritten in place',
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

/** Uploads a large artifact and reads its first bytes. */
async function startRead(subject: Subject): Promise<{ readonly reader: ArtifactReader; readonly bytes: Buffer }> {
  const bytes = content(subject.largeBytes);
  await subject.put('key', bytes);
  const reader = await subject.openExisting('key');
  await subject.readChunk(reader);
  return { reader, bytes };
}

/** Asserts that `change` does not modify an immutable file in place. Asserts nothing for other artifacts. */
async function assertImmutable(
  subject: Subject,
  key: string,
  change: (key: string) => Promise<unknown>,
): Promise<void> {
  const bytes = content(subject.largeBytes);
  await subject.put(key, bytes);
  const reader = await subject.openExisting(key);
  if (!(reader instanceof FileArtifactReader && reader.artifact.immutable === true)) return;
  await change(key);
  assertBytes(await reader.reread(), bytes, 'immutable file after a change of its artifact');
  await subject.closeReader(reader);
}

async function assertUnaffected(subject: Subject, reader: ArtifactReader, bytes: Buffer): Promise<void> {
  const outcome = await outcomeOf(() => subject.readToEnd(reader));
  if (outcome.ok) assertBytes(outcome.value, bytes, 'read in flight');
  else if (subject.capabilities.survivesDelete) throw outcome.error;
}

/**
 * Uploads artifacts until the artifact under `key` is evicted. Asserts that each new artifact is stored. A lookup can
 * count as a use, so `key` is looked up only once for every `evictsAbove` bytes.
 */
async function fillUntilEvicted(subject: Subject, key: string): Promise<void> {
  const { evictsAbove = 0 } = subject.capabilities;
  const length = Math.ceil(evictsAbove / ARTIFACTS_TO_FILL);
  for (let count = 1; count <= 3 * ARTIFACTS_TO_FILL; count++) {
    const bytes = content(length, count);
    await subject.put(`fill-${count}`, bytes);
    await subject.assertHolds(`fill-${count}`, bytes);
    if (count % ARTIFACTS_TO_FILL === 0 && (await subject.open(key)) === undefined) return;
  }
  assert.fail(`evictsAbove: expected an eviction after ${3 * evictsAbove} bytes, but '${key}' is still stored`);
}
