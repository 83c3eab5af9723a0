import assert from 'node:assert/strict';
import { assertEntityTag } from '../artifacts.js';
import { arriving, content, StagedBody } from '../bodies.js';
import { type Check, ifDeletable, ifWritable } from '../check.js';
import { stored } from '../subject.js';

/** Pieces in which an upload comes: a store that asks for the third has kept the first, if it keeps any. */
const PIECES = 4;
const PIECES_BYTES = 200_000;

/** Uploads that succeed. */
export const uploads: readonly Check[] = [
  {
    title: 'an upload of unknown length is read back, whole',
    applies: ifWritable,
    async run(subject) {
      for (const [index, length] of [0, 1, 70_001].entries()) {
        const bytes = content(length, index + 1);
        const { created } = stored(await subject.within('put()', subject.upload(`key-${index}`, arriving(bytes))));
        assert.equal(typeof created, 'boolean', 'put() must say whether the key was free');
        await subject.assertHolds(`key-${index}`, bytes);
      }
    },
  },
  {
    title: 'an upload replaces what was there, whether it is longer or shorter',
    applies: ifWritable,
    async run(subject) {
      for (const [index, length] of [10_000, 100_000, 10_000, 0, 1].entries()) {
        await subject.put('key', content(length, index + 1));
        await subject.assertHolds('key', content(length, index + 1));
      }
    },
  },
  {
    title: 'another artifact has another entity tag, if it has one',
    applies: ifWritable,
    async run(subject) {
      const tags: string[] = [];
      // All of one length, and within one second: neither may be all that a tag is made of.
      for (const seed of [1, 2, 3]) {
        await subject.put('key', content(1000, seed));
        const artifact = await subject.lookUp('key');
        if (artifact?.etag !== undefined) tags.push(artifact.etag);
      }
      assert.equal(new Set(tags).size, tags.length, `entity tags of different artifacts: ${tags.join(', ')}`);
    },
  },
  {
    title: 'the entity tag of an upload is that of its artifact',
    applies: ifWritable,
    async run(subject) {
      for (const seed of [1, 2]) {
        const { etag } = await subject.put('key', content(1000, seed));
        if (etag === undefined) continue;
        assertEntityTag(etag);
        const artifact = await subject.lookUp('key');
        assert.equal(artifact?.etag, etag, 'what get() says after put() has said it');
      }
    },
  },
  {
    title: 'an upload says whether its key was free',
    applies: (capabilities) => capabilities.writable && capabilities.tellsCreated,
    async run(subject) {
      assert.equal((await subject.put('key', content(100))).created, true, 'created, of a key that was free');
      assert.equal((await subject.put('key', content(200))).created, false, 'created, of a key that was not');
      assert.equal((await subject.put('other', content(100))).created, true, 'created, of another key');
    },
  },
  {
    title: 'a deleted key is free again',
    applies: (capabilities) => ifDeletable(capabilities) && capabilities.tellsCreated,
    async run(subject) {
      await subject.put('key', content(100, 1));
      await subject.delete('key');
      assert.equal((await subject.put('key', content(200, 2))).created, true, 'created, after it was deleted');
      await subject.assertHolds('key', content(200, 2));
    },
  },
  {
    title: 'until an upload is complete there is nothing',
    applies: ifWritable,
    async run(subject) {
      const bytes = content(PIECES_BYTES);
      const body = new StagedBody();
      const upload = subject.upload('key', body.stream, { size: bytes.byteLength });
      await subject.within('taking an upload', body.giveInPieces(bytes, PIECES));
      await subject.assertMiss('key');
      body.end();
      stored(await subject.within('put()', upload));
      await subject.assertHolds('key', bytes);
    },
  },
  {
    title: 'until an upload is complete there is what was there before',
    applies: ifWritable,
    async run(subject) {
      const old = content(PIECES_BYTES / 2, 1);
      const bytes = content(PIECES_BYTES, 2);
      await subject.put('key', old);
      const body = new StagedBody();
      const upload = subject.upload('key', body.stream, { size: bytes.byteLength });
      await subject.within('taking an upload', body.giveInPieces(bytes, PIECES));
      await subject.assertHolds('key', old);
      body.end();
      stored(await subject.within('put()', upload));
      await subject.assertHolds('key', bytes);
    },
  },
];
