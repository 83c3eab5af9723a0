import { assertEntityTag } from '../artifacts.js';
import { assertEqual } from '../assert-equal.js';
import { chunkedBody, content, StagedBody } from '../bodies.js';
import { assertStored } from '../subject.js';
import { type Check, ifDeletable, ifWritable } from './check.js';

/** Number of pieces of a staged upload. When a store requests the third piece, it must have processed the first. */
const PIECES = 4;
const PIECES_BYTES = 200_000;

/** Checks of uploads that succeed. */
export const uploads: readonly Check[] = [
  {
    title: 'an upload of unknown length is stored as a whole',
    applies: ifWritable,
    async run(subject) {
      for (const [index, length] of [0, 1, 70_001].entries()) {
        const bytes = content(length, index + 1);
        const { created } = assertStored(
          await subject.withDeadline('put()', subject.upload(`key-${index}`, chunkedBody(bytes))),
        );
        if (created !== undefined) assertEqual(typeof created, 'boolean', 'type of created in the result of put()');
        await subject.assertHolds(`key-${index}`, bytes);
      }
    },
  },
  {
    title: 'an upload replaces a longer or shorter artifact',
    applies: ifWritable,
    async run(subject) {
      for (const [index, length] of [10_000, 100_000, 10_000, 0, 1].entries()) {
        await subject.put('key', content(length, index + 1));
        await subject.assertHolds('key', content(length, index + 1));
      }
    },
  },
  {
    title: 'different uploads have different entity tags, if any',
    applies: ifWritable,
    async run(subject) {
      const tags: string[] = [];
      // The uploads have the same length and occur in the same second: a tag must not depend on these alone.
      for (const seed of [1, 2, 3]) {
        await subject.put('key', content(1000, seed));
        const artifact = await subject.get('key');
        if (artifact?.etag !== undefined) tags.push(artifact.etag);
      }
      assertEqual(new Set(tags).size, tags.length, `number of different entity tags in ${tags.join(', ')}`);
    },
  },
  {
    title: 'put() and get() return the same entity tag',
    applies: ifWritable,
    async run(subject) {
      for (const seed of [1, 2]) {
        const { etag } = await subject.put('key', content(1000, seed));
        if (etag === undefined) continue;
        assertEntityTag(etag);
        const artifact = await subject.get('key');
        assertEqual(artifact?.etag, etag, 'etag of get() after put()');
      }
    },
  },
  {
    title: 'put() reports whether the key is new',
    applies: (capabilities) => capabilities.writable && capabilities.reportsCreated,
    async run(subject) {
      assertEqual((await subject.put('key', content(100))).created, true, 'created for a new key');
      assertEqual((await subject.put('key', content(200))).created, false, 'created for an existing key');
      assertEqual((await subject.put('other', content(100))).created, true, 'created for another new key');
    },
  },
  {
    title: 'put() reports a deleted key as new',
    applies: (capabilities) => ifDeletable(capabilities) && capabilities.reportsCreated,
    async run(subject) {
      await subject.put('key', content(100, 1));
      await subject.delete('key');
      assertEqual((await subject.put('key', content(200, 2))).created, true, 'created for a deleted key');
      await subject.assertHolds('key', content(200, 2));
    },
  },
  {
    title: 'an incomplete upload of a new key is not visible',
    applies: ifWritable,
    async run(subject) {
      const bytes = content(PIECES_BYTES);
      const body = new StagedBody();
      const upload = subject.upload('key', body.stream, { size: bytes.byteLength });
      await subject.withDeadline('consuming an upload', body.pushInPieces(bytes, PIECES));
      await subject.assertMiss('key');
      body.end();
      assertStored(await subject.withDeadline('put()', upload));
      await subject.assertHolds('key', bytes);
    },
  },
  {
    title: 'an incomplete upload does not hide the previous artifact',
    applies: ifWritable,
    async run(subject) {
      const old = content(PIECES_BYTES / 2, 1);
      const bytes = content(PIECES_BYTES, 2);
      await subject.put('key', old);
      const body = new StagedBody();
      const upload = subject.upload('key', body.stream, { size: bytes.byteLength });
      await subject.withDeadline('consuming an upload', body.pushInPieces(bytes, PIECES));
      await subject.assertHolds('key', old);
      body.end();
      assertStored(await subject.withDeadline('put()', upload));
      await subject.assertHolds('key', bytes);
    },
  },
];
