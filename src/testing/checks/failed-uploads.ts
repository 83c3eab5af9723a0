import assert from 'node:assert/strict';
import { errnoCode, HotblobError } from '../../contract/errors.js';
import type { PutResult } from '../../contract/store.js';
import { arriving, content, StagedBody } from '../bodies.js';
import { type Check, ifWritable } from '../check.js';
import { type Outcome, turn } from '../steps.js';
import { refused, type Subject, stored } from '../subject.js';

const OLD = content(30_000, 1);
const BYTES = content(200_000, 2);
const PIECES = 4;
/** Turns of the event loop between the last byte of an upload and the moment at which its client leaves. */
const LEAVES_AFTER_TURNS = [0, 1, 2, 3, 5, 8, 13];

/** Uploads that do not succeed: nothing of them stays. */
export const failedUploads: readonly Check[] = [
  {
    title: 'an upload that fails leaves nothing',
    applies: ifWritable,
    run: (subject) =>
      assertLeavesNothing(subject, 'an upload that has failed', async (key) => {
        const body = new StagedBody();
        const upload = subject.upload(key, body.stream);
        await body.giveInPieces(BYTES, PIECES);
        body.fail(new Error('the client has gone'));
        return upload;
      }),
  },
  {
    title: 'an upload that fails before its first byte leaves nothing',
    applies: ifWritable,
    run: (subject) =>
      assertLeavesNothing(subject, 'an upload that has failed', async (key) => {
        const body = new StagedBody();
        const upload = subject.upload(key, body.stream);
        body.fail(new Error('the client has gone'));
        return upload;
      }),
  },
  {
    title: 'an upload that is cut off without an error leaves nothing',
    applies: ifWritable,
    run: (subject) =>
      assertLeavesNothing(subject, 'an upload that was cut off', async (key) => {
        const body = new StagedBody();
        const upload = subject.upload(key, body.stream);
        await body.giveInPieces(BYTES, PIECES);
        body.fail();
        return upload;
      }),
  },
  {
    title: 'an upload that is shorter than announced leaves nothing',
    applies: ifWritable,
    run: (subject) =>
      assertLeavesNothing(subject, 'an upload that ends a byte before its announced length', (key) =>
        subject.upload(key, arriving(BYTES), { size: BYTES.byteLength + 1 }),
      ),
  },
  {
    title: 'an upload that is longer than announced leaves nothing',
    applies: ifWritable,
    run: (subject) =>
      assertLeavesNothing(subject, 'an upload that goes on for a byte after its announced length', (key) =>
        subject.upload(key, arriving(BYTES), { size: BYTES.byteLength - 1 }),
      ),
  },
  {
    title: 'the code of what fails an upload comes through, because it tells the status',
    applies: ifWritable,
    async run(subject) {
      const body = new StagedBody();
      const upload = subject.upload('key', body.stream);
      await subject.within('taking an upload', body.giveInPieces(BYTES, PIECES));
      // What the handler's bodies fail with above its limit. Wrapped in another error it would be a 500.
      body.fail(new HotblobError('ERR_HOTBLOB_TOO_LARGE', 'the upload is too large'));
      const error = refused(
        await subject.within('put() of a body that has failed', upload),
        'an upload that has failed',
      );
      assert.equal(errnoCode(error), 'ERR_HOTBLOB_TOO_LARGE', 'the code of what put() is rejected with');
    },
  },
  {
    title: 'an abort ends an upload that is silent, and leaves nothing',
    applies: ifWritable,
    run: (subject) =>
      assertLeavesNothing(subject, 'an upload whose client has left', async (key) => {
        const controller = new AbortController();
        const body = new StagedBody();
        const upload = subject.upload(key, body.stream, { signal: controller.signal });
        await body.giveInPieces(BYTES, PIECES);
        controller.abort();
        return upload;
      }),
  },
  {
    title: 'an upload that was aborted stays so, even where its body comes to its end',
    applies: ifWritable,
    run: (subject) =>
      assertLeavesNothing(subject, 'an upload whose client has left', async (key) => {
        const controller = new AbortController();
        const body = new StagedBody();
        const upload = subject.upload(key, body.stream, { signal: controller.signal });
        await body.giveInPieces(BYTES, PIECES);
        controller.abort();
        body.end();
        const outcome = await upload;
        await subject.put('another/key', OLD);
        return outcome;
      }),
  },
  {
    title: 'an upload whose client has left before leaves nothing',
    applies: ifWritable,
    run: (subject) =>
      assertLeavesNothing(subject, 'an upload whose client had left before', (key) => {
        const controller = new AbortController();
        controller.abort();
        return subject.upload(key, arriving(BYTES), { size: BYTES.byteLength, signal: controller.signal });
      }),
  },
  {
    title: 'an abort while an upload is being completed leaves all of it or nothing',
    applies: ifWritable,
    async run(subject) {
      for (const turns of LEAVES_AFTER_TURNS) {
        const key = `key-${turns}`;
        const controller = new AbortController();
        const body = arriving(BYTES);
        const upload = subject.upload(key, body, { size: BYTES.byteLength, signal: controller.signal });
        body.once('end', async () => {
          for (let count = 0; count < turns; count++) await turn();
          controller.abort();
        });
        const outcome = await subject.within('put() whose client leaves', upload);
        if (outcome.ok) await subject.assertHolds(key, BYTES);
        else await subject.assertMiss(key);
      }
    },
  },
];

/**
 * Fails unless `attempt` is refused, and changes neither what is found nor what is kept: once for a key that is free and
 * once for one that is not. Both keys can be uploaded to afterwards.
 */
async function assertLeavesNothing(
  subject: Subject,
  what: string,
  attempt: (key: string) => Promise<Outcome<PutResult>>,
): Promise<void> {
  await subject.put('old/key', OLD);
  await subject.put('another/key', OLD);
  const before = await subject.inventory();
  for (const key of ['new/key', 'old/key']) {
    refused(await subject.within(`put() of ${what}`, attempt(key)), what);
  }
  await subject.assertMiss('new/key');
  await subject.assertHolds('old/key', OLD);
  assert.deepEqual(await subject.inventory(), before, 'what the store keeps');
  for (const key of ['new/key', 'old/key']) {
    stored(await subject.within('put()', subject.upload(key, arriving(BYTES), { size: BYTES.byteLength })));
    await subject.assertHolds(key, BYTES);
  }
}
