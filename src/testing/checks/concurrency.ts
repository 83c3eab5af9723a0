import assert from 'node:assert/strict';
import { assertBytes, chunkedBody, content } from '../bodies.js';
import { nextTurn, outcomeOf } from '../promises.js';
import { assertStored } from '../subject.js';
import { type Check, ifWritable } from './check.js';

const WRITERS = 8;
/** Each upload has its own length, so that a mix of two uploads has a wrong length or wrong bytes. */
const lengthOf = (writer: number): number => 40_000 + 3001 * writer;

/** Checks of concurrent uploads. */
export const concurrency: readonly Check[] = [
  {
    title: 'after concurrent uploads to one key, the artifact is one of them as a whole',
    applies: ifWritable,
    async run(subject) {
      const bodies = Array.from({ length: WRITERS }, (_, writer) => content(lengthOf(writer), writer + 1));
      let running = true;
      const writes = Promise.all(
        bodies.map((bytes) => subject.upload('key', chunkedBody(bytes), { size: bytes.byteLength })),
      ).finally(() => {
        running = false;
      });
      // Only one read runs at a time, so that reads do not starve the uploads.
      const reading = outcomeOf(async () => {
        while (running) {
          // A read during an overwrite may fail. If it succeeds, it must return one of the uploads.
          const outcome = await outcomeOf(() => subject.read('key'));
          if (outcome.ok && outcome.value !== undefined) assertOneOf(outcome.value, bodies);
          await nextTurn();
        }
      });
      const outcomes = await subject.withDeadline('concurrent put() to one key', writes);
      for (const outcome of outcomes) assertStored(outcome);
      const readOutcome = await reading;
      if (!readOutcome.ok) throw readOutcome.error;
      const found = await subject.read('key');
      assert(found !== undefined, 'expected an artifact after all uploads succeeded, received a miss');
      assertOneOf(found, bodies);
    },
  },
  {
    title: 'concurrent uploads to many keys do not mix',
    applies: ifWritable,
    async run(subject) {
      const keys = Array.from({ length: 2 * WRITERS }, (_, writer) => `key/${writer % 4}/${writer}`);
      const bodyOf = (writer: number): Buffer => content(lengthOf(writer), writer + 1);
      await Promise.all(keys.map((key, writer) => subject.put(key, bodyOf(writer))));
      for (const [writer, key] of keys.entries()) await subject.assertHolds(key, bodyOf(writer));
    },
  },
];

function assertOneOf(bytes: Buffer, bodies: readonly Buffer[]): void {
  const expected = bodies.find((body) => body.byteLength === bytes.byteLength);
  assert(expected !== undefined, `expected the length of one of the uploads, received ${bytes.byteLength} bytes`);
  assertBytes(bytes, expected, 'artifact after concurrent uploads');
}
