import type { ByteRange } from '../../contract/artifact.js';
import { assertEqual } from '../assert-equal.js';
import { assertBytes, content } from '../bodies.js';
import type { Check } from './check.js';

/** Checks of the bytes of artifacts, which are read as the handler reads them. */
export const reads: readonly Check[] = [
  {
    title: 'an artifact has the bytes that were stored',
    async run(subject) {
      const lengths = [1, 255, 256, 4096, 70_001];
      for (const [index, length] of lengths.entries()) await subject.add(`key-${index}`, content(length, index + 1));
      for (const [index, length] of lengths.entries()) {
        await subject.assertHolds(`key-${index}`, content(length, index + 1));
      }
    },
  },
  {
    title: 'an empty artifact is not a miss',
    async run(subject) {
      await subject.add('key', content(0));
      await subject.assertHolds('key', content(0));
    },
  },
  {
    title: 'a large artifact has the bytes that were stored',
    async run(subject) {
      const bytes = content(subject.largeBytes);
      await subject.add('key', bytes);
      await subject.assertHolds('key', bytes);
    },
  },
  {
    title: 'a range has exactly its bytes',
    applies: ({ ranges }) => ranges,
    async run(subject) {
      const length = 150_001;
      const bytes = content(length);
      await subject.add('key', bytes);
      for (const range of rangesOf(length)) {
        const reader = await subject.openExisting('key', range);
        assertEqual(reader.size, length, 'size of the artifact (without a size, the handler serves no ranges)');
        const what = `range from ${range.start} to ${range.end}`;
        assertBytes(await subject.readToEnd(reader), bytes.subarray(range.start, range.end), what);
      }
    },
  },
  {
    title: 'a store without ranges returns artifacts without a size',
    applies: ({ ranges }) => !ranges,
    async run(subject) {
      await subject.add('key', content(1000));
      const { artifact, size } = await subject.openExisting('key');
      assertEqual(size, undefined, `size of a ${artifact.kind} artifact (with a size, the handler serves ranges)`);
    },
  },
  {
    title: 'an aborted read does not affect other reads',
    async run(subject) {
      const bytes = content(subject.largeBytes);
      await subject.add('key', bytes);
      const controller = new AbortController();
      const aborted = await subject.openExisting('key', undefined, controller.signal);
      const unaffected = await subject.openExisting('key');
      await subject.readChunk(aborted);
      await subject.readChunk(unaffected);
      controller.abort();
      await subject.closeReader(aborted);
      assertBytes(await subject.readToEnd(unaffected), bytes, 'artifact for another client');
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
