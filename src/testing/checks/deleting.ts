import assert from 'node:assert/strict';
import { content } from '../bodies.js';
import { type Check, ifDeletable } from '../check.js';

/** `delete`. */
export const deleting: readonly Check[] = [
  {
    title: 'a deletion says whether there was something to delete',
    applies: ifDeletable,
    async run(subject) {
      assert.equal(await subject.delete('key'), false, 'delete() of what was never there');
      assert.equal(await subject.delete('key/below'), false, 'delete() of what was never there');
      await subject.put('key', content(1000));
      assert.equal(await subject.delete('key'), true, 'delete() of what is there');
      assert.equal(await subject.delete('key'), false, 'delete() of what was deleted');
    },
  },
  {
    title: 'what was deleted is a miss, and can be put again',
    applies: ifDeletable,
    async run(subject) {
      for (const length of [1000, 1, subject.largeBytes]) {
        await subject.put('a/key', content(length));
        await subject.delete('a/key');
        await subject.assertMiss('a/key');
      }
      await subject.put('a/key', content(500, 2));
      await subject.assertHolds('a/key', content(500, 2));
    },
  },
  {
    title: 'a deletion leaves everything else',
    applies: ifDeletable,
    async run(subject) {
      const others = ['a/b2', 'a/c', 'ab', 'b', 'a-b'];
      for (const [index, key] of others.entries()) await subject.put(key, content(1000 + index, index + 1));
      await subject.put('a/b', content(1000));
      await subject.delete('a/b');
      // There are keys below it, which is not to be there itself.
      await subject.delete('a');
      for (const [index, key] of others.entries()) {
        await subject.assertHolds(key, content(1000 + index, index + 1));
      }
    },
  },
];
