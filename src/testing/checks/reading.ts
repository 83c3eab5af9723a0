import assert from 'node:assert/strict';
import type { ByteRange } from '../../contract/artifact.js';
import { assertBytes, content } from '../bodies.js';
import type { Check } from '../check.js';

/** What the handler reads of an artifact. */
export const reading: readonly Check[] = [
  {
    title: 'an artifact is read back, whole',
    async run(subject) {
      const lengths = [1, 255, 256, 4096, 70_001];
      for (const [index, length] of lengths.entries()) await subject.fill(`key-${index}`, content(length, index + 1));
      for (const [index, length] of lengths.entries()) {
        await subject.assertHolds(`key-${index}`, content(length, index + 1));
      }
    },
  },
  {
    title: 'an empty artifact is one, and no miss',
    async run(subject) {
      await subject.fill('key', content(0));
      await subject.assertHolds('key', content(0));
    },
  },
  {
    title: 'a large artifact is read back, whole',
    async run(subject) {
      const bytes = content(subject.largeBytes);
      await subject.fill('key', bytes);
      await subject.assertHolds('key', bytes);
    },
  },
  {
    title: 'a range of an artifact is those bytes, and no others',
    applies: ({ ranges }) => ranges,
    async run(subject) {
      const length = 150_001;
      const bytes = content(length);
      await subject.fill('key', bytes);
      for (const range of rangesOf(length)) {
        const part = await subject.openFound('key', range);
        assert.equal(part.size, length, 'the artifact must say its size, so that ranges of it can be served');
        const what = `bytes ${range.start} to ${range.end}`;
        assertBytes(await subject.drain(part), bytes.subarray(range.start, range.end), what);
      }
    },
  },
  {
    title: 'an artifact does not say its size, because then it would be asked for ranges',
    applies: ({ ranges }) => !ranges,
    async run(subject) {
      await subject.fill('key', content(1000));
      const { artifact, size } = await subject.openFound('key');
      assert.equal(size, undefined, `the handler asks a ${artifact.kind} artifact that has a size for ranges`);
    },
  },
  {
    title: 'a reader that leaves disturbs no other',
    async run(subject) {
      const bytes = content(subject.largeBytes);
      await subject.fill('key', bytes);
      const controller = new AbortController();
      const leaving = await subject.openFound('key', undefined, controller.signal);
      const staying = await subject.openFound('key');
      await subject.step(leaving);
      await subject.step(staying);
      controller.abort();
      await subject.leave(leaving);
      assertBytes(await subject.drain(staying), bytes, 'what another reader gets');
      await subject.assertHolds('key', bytes);
    },
  },
];

function rangesOf(length: number): ByteRange[] {
  return [
    { start: 0, end: 1 },
    { start: 0, end: length },
    { start: 1, end: 65_537 },
    { start: 65_536, end: 131_072 },
    { start: 70_001, end: length },
    { start: length - 1, end: length },
  ];
}
