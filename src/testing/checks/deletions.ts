import { assertEqual } from '../assert-equal.js';
import { content } from '../bodies.js';
import { type Check, ifDeletable } from './check.js';

/** Checks of `delete`. */
export const deletions: readonly Check[] = [
  {
    title: 'delete() resolves to whether there was an artifact',
    applies: ifDeletable,
    async run(subject) {
      assertEqual(await subject.delete('key'), false, 'delete() of a key that was never stored');
      assertEqual(await subject.delete('key/below'), false, 'delete() of a key that was never stored');
      await subject.put('key', content(1000));
      assertEqual(await subject.delete('key'), true, 'delete() of an artifact');
      assertEqual(await subject.delete('key'), false, 'delete() of a deleted artifact');
    },
  },
  {
    title: 'a deleted artifact is a miss and can be uploaded again',
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
    title: 'a deletion does not affect other keys',
    applies: ifDeletable,
    async run(subject) {
      const others = ['a/b2', 'a/c', 'ab', 'b', 'a-b'];
      for (const [index, key] of others.entries()) await subject.put(key, content(1000 + index, index + 1));
      await subject.put('a/b', content(1000));
      await subject.delete('a/b');
      // "a" is only a prefix of other keys.
      await subject.delete('a');
      for (const [index, key] of others.entries()) {
        await subject.assertHolds(key, content(1000 + index, index + 1));
      }
    },
  },
];
