import assert from 'node:assert/strict';
import { errnoCode } from '../../contract/errors.js';
import { assertEqual } from '../assert-equal.js';
import { assertBytes, content, StagedBody } from '../bodies.js';
import type { Capabilities } from '../options.js';
import { assertRejected, assertStored } from '../subject.js';
import type { Check } from './check.js';

const applies = ({ writable, ifAbsent }: Capabilities): boolean => writable && ifAbsent;
const PIECES = 4;

/** Uploads with `ifAbsent`. */
export const ifAbsent: readonly Check[] = [
  {
    title: 'an upload with ifAbsent is stored if the key has no artifact',
    applies,
    async run(subject) {
      await subject.put('key', content(50_000), { ifAbsent: true });
      await subject.assertHolds('key', content(50_000));
    },
  },
  {
    title: 'an upload with ifAbsent is rejected if the key has an artifact, and leaves nothing',
    applies,
    async run(subject) {
      for (const length of [10, 200_000, subject.largeBytes]) {
        const key = `key-${length}`;
        const old = content(30_000, 1);
        await subject.put(key, old);
        const before = await subject.inventory();
        const body = new StagedBody();
        const upload = subject.upload(key, body.stream, { ifAbsent: true, size: length });
        // A store may reject before it has read the body.
        await subject.withDeadline('put()', Promise.race([body.pushInPieces(content(length, 2), PIECES), upload]));
        body.end();
        const error = assertRejected(await subject.withDeadline('put()', upload), 'an upload with ifAbsent');
        assertEqual(errnoCode(error), 'ERR_HOTBLOB_EXISTS', 'error code of put()');
        await subject.assertHolds(key, old);
        assert.deepEqual(await subject.inventory(), before, 'inventory() after a rejected upload');
      }
    },
  },
  {
    title: 'of overlapping uploads with ifAbsent, exactly one is stored',
    applies,
    async run(subject) {
      for (const [round, length] of [10, 50_000, subject.largeBytes].entries()) {
        const key = `key-${round}`;
        const bodies = [content(length, 1), content(length + 1, 2), content(length + 2, 3)];
        const staged = bodies.map(() => new StagedBody());
        const uploads = staged.map((body, index) =>
          subject.upload(key, body.stream, { ifAbsent: true, size: bodies[index]?.byteLength ?? 0 }),
        );
        // All uploads find no artifact when they begin.
        const pushing = staged.map((body, index) =>
          Promise.race([body.pushInPieces(bodies[index] ?? Buffer.of(), PIECES), uploads[index]]),
        );
        await subject.withDeadline('consuming uploads', Promise.all(pushing));
        await subject.assertMiss(key);
        for (const body of staged) body.end();
        const outcomes = await subject.withDeadline('overlapping put() with ifAbsent', Promise.all(uploads));
        const stored = outcomes.findIndex(({ ok }) => ok);
        assertEqual(outcomes.filter(({ ok }) => ok).length, 1, 'number of uploads that succeeded');
        for (const [index, outcome] of outcomes.entries()) {
          if (index === stored) assertStored(outcome);
          else assertEqual(errnoCode(assertRejected(outcome, 'a put() that lost')), 'ERR_HOTBLOB_EXISTS', 'error code');
        }
        const found = await subject.read(key);
        assert(found !== undefined, 'expected the artifact of the upload that succeeded, received a miss');
        assertBytes(found, bodies[stored] ?? Buffer.of(), 'artifact after overlapping uploads with ifAbsent');
      }
    },
  },
];
