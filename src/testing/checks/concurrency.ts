import assert from 'node:assert/strict';
import { arriving, assertBytes, content } from '../bodies.js';
import { type Check, ifWritable } from '../check.js';
import { outcomeOf, turn } from '../steps.js';
import { stored } from '../subject.js';

const WRITERS = 8;
/** Each other, so that what is mixed of two has a length of neither, or the bytes of both. */
const lengthOf = (writer: number): number => 40_000 + 3001 * writer;

/** Uploads at the same time. */
export const concurrency: readonly Check[] = [
  {
    title: 'of uploads to one key at a time one is there in the end, whole',
    applies: ifWritable,
    async run(subject) {
      const bodies = Array.from({ length: WRITERS }, (_, writer) => content(lengthOf(writer), writer + 1));
      let running = true;
      const writing = Promise.all(
        bodies.map((bytes) => subject.upload('key', arriving(bytes), { size: bytes.byteLength })),
      ).finally(() => {
        running = false;
      });
      // One lookup at a time, so that they do not keep the uploads from their turn.
      const looking = outcomeOf(async () => {
        while (running) {
          // A read that meets a change may fail; what it does get must be one of them.
          const outcome = await outcomeOf(() => subject.read('key'));
          if (outcome.ok && outcome.value !== undefined) assertOneOf(outcome.value, bodies);
          await turn();
        }
      });
      const outcomes = await subject.within('put() of several to one key', writing);
      for (const outcome of outcomes) stored(outcome);
      const looked = await looking;
      if (!looked.ok) throw looked.error;
      const found = await subject.read('key');
      assert(found !== undefined, 'nothing is found after all of them were accepted');
      assertOneOf(found, bodies);
    },
  },
  {
    title: 'uploads to many keys at a time are all kept, and kept apart',
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
  assert(expected !== undefined, `${bytes.byteLength} bytes are found, and no upload has had as many`);
  assertBytes(bytes, expected, 'what is found of several uploads');
}
