import { errnoCode, HotblobError } from '../../contract/errors.js';
import type { PutResult } from '../../contract/store.js';
import { assertEqual } from '../assert-equal.js';
import { chunkedBody, content, StagedBody } from '../bodies.js';
import { nextTurn, type Outcome } from '../promises.js';
import { assertRejected, assertStored, type Subject } from '../subject.js';
import { type Check, ifWritable } from './check.js';

const OLD = content(30_000, 1);
const BYTES = content(200_000, 2);
const PIECES = 4;
const TURNS_AFTER_LAST_BYTE = 20;
/** Turns of the event loop between the last byte of an upload and the abort. */
const ABORT_AFTER_TURNS = [0, 1, 2, 3, 5, 8, 13];

/** Checks of uploads that fail. Such an upload must leave nothing behind. */
export const failedUploads: readonly Check[] = [
  {
    title: 'an upload that fails leaves nothing',
    applies: ifWritable,
    run: (subject) =>
      assertLeavesNothing(subject, 'an upload whose body fails', async (key) => {
        const body = new StagedBody();
        const upload = subject.upload(key, body.stream);
        await body.pushInPieces(BYTES, PIECES);
        body.destroy(new Error('client disconnected'));
        return upload;
      }),
  },
  {
    title: 'an upload that fails before its first byte leaves nothing',
    applies: ifWritable,
    run: (subject) =>
      assertLeavesNothing(subject, 'an upload whose body fails', async (key) => {
        const body = new StagedBody();
        const upload = subject.upload(key, body.stream);
        body.destroy(new Error('client disconnected'));
        return upload;
      }),
  },
  {
    title: 'an upload that is destroyed without an error leaves nothing',
    applies: ifWritable,
    run: (subject) =>
      assertLeavesNothing(subject, 'an upload whose body is destroyed', async (key) => {
        const body = new StagedBody();
        const upload = subject.upload(key, body.stream);
        await body.pushInPieces(BYTES, PIECES);
        body.destroy();
        return upload;
      }),
  },
  {
    // A store that forwards uploads must send the last bytes only when the upload has succeeded. Otherwise the other server stores
    // the artifact as soon as its announced length has arrived.
    title: 'an upload that fails after its last announced byte leaves nothing',
    applies: ifWritable,
    run: (subject) =>
      assertLeavesNothing(subject, 'an upload whose body fails after its last byte', async (key) => {
        const body = new StagedBody();
        const upload = subject.upload(key, body.stream, { size: BYTES.byteLength });
        await body.pushInPieces(BYTES, PIECES);
        // The time in which a wrong digest is found.
        for (let count = 0; count < TURNS_AFTER_LAST_BYTE; count++) await nextTurn();
        body.destroy(new HotblobError('ERR_HOTBLOB_DIGEST', 'the digest is wrong'));
        return upload;
      }),
  },
  {
    title: 'an upload that is shorter than announced leaves nothing',
    applies: ifWritable,
    run: (subject) =>
      assertLeavesNothing(subject, 'an upload that is one byte shorter than announced', (key) =>
        subject.upload(key, chunkedBody(BYTES), { size: BYTES.byteLength + 1 }),
      ),
  },
  {
    title: 'an upload that is longer than announced leaves nothing',
    applies: ifWritable,
    run: (subject) =>
      assertLeavesNothing(subject, 'an upload that is one byte longer than announced', (key) =>
        subject.upload(key, chunkedBody(BYTES), { size: BYTES.byteLength - 1 }),
      ),
  },
  {
    title: 'put() rejects with the error code of a failed body',
    applies: ifWritable,
    async run(subject) {
      const body = new StagedBody();
      const upload = subject.upload('key', body.stream);
      await subject.withDeadline('consuming an upload', body.pushInPieces(BYTES, PIECES));
      // The handler destroys a body that exceeds its limit with this error. If the store wrapped it, the client would
      // get 500 instead of 413.
      body.destroy(new HotblobError('ERR_HOTBLOB_TOO_LARGE', 'the upload is too large'));
      const error = assertRejected(
        await subject.withDeadline('put() of a failed body', upload),
        'an upload whose body fails',
      );
      assertEqual(errnoCode(error), 'ERR_HOTBLOB_TOO_LARGE', 'error code of put()');
    },
  },
  {
    title: 'an abort rejects an idle upload and leaves nothing',
    applies: ifWritable,
    run: (subject) =>
      assertLeavesNothing(subject, 'an aborted upload', async (key) => {
        const controller = new AbortController();
        const body = new StagedBody();
        const upload = subject.upload(key, body.stream, { signal: controller.signal });
        await body.pushInPieces(BYTES, PIECES);
        controller.abort();
        return upload;
      }),
  },
  {
    title: 'an aborted upload leaves nothing, even if its body ends',
    applies: ifWritable,
    run: (subject) =>
      assertLeavesNothing(subject, 'an aborted upload', async (key) => {
        const controller = new AbortController();
        const body = new StagedBody();
        const upload = subject.upload(key, body.stream, { signal: controller.signal });
        await body.pushInPieces(BYTES, PIECES);
        controller.abort();
        body.end();
        const outcome = await upload;
        await subject.put('another/key', OLD);
        return outcome;
      }),
  },
  {
    title: 'an upload with an aborted signal leaves nothing',
    applies: ifWritable,
    run: (subject) =>
      assertLeavesNothing(subject, 'an upload with an aborted signal', (key) => {
        const controller = new AbortController();
        controller.abort();
        return subject.upload(key, chunkedBody(BYTES), { size: BYTES.byteLength, signal: controller.signal });
      }),
  },
  {
    title: 'an abort while an upload completes leaves the whole artifact or nothing',
    applies: ifWritable,
    async run(subject) {
      for (const turns of ABORT_AFTER_TURNS) {
        const key = `key-${turns}`;
        const controller = new AbortController();
        const body = chunkedBody(BYTES);
        const upload = subject.upload(key, body, { size: BYTES.byteLength, signal: controller.signal });
        body.once('end', async () => {
          for (let count = 0; count < turns; count++) await nextTurn();
          controller.abort();
        });
        const outcome = await subject.withDeadline('put() that is aborted', upload);
        if (outcome.ok) await subject.assertHolds(key, BYTES);
        else await subject.assertMiss(key);
      }
    },
  },
];

/**
 * Calls `attempt` with a new and with an existing key. Asserts that the upload is rejected and changes neither the
 * artifacts nor the inventory. Then asserts that both keys accept uploads.
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
    assertRejected(await subject.withDeadline(`put() of ${what}`, attempt(key)), what);
  }
  await subject.assertMiss('new/key');
  await subject.assertHolds('old/key', OLD);
  assertEqual(await subject.inventory(), before, 'inventory after failed uploads');
  for (const key of ['new/key', 'old/key']) {
    assertStored(
      await subject.withDeadline('put()', subject.upload(key, chunkedBody(BYTES), { size: BYTES.byteLength })),
    );
    await subject.assertHolds(key, BYTES);
  }
}
