import assert from 'node:assert/strict';
import { content, StagedBody } from '../bodies.js';
import { type Check, ifWritable } from './check.js';

/** Check of `close` with an upload in flight. The other checks close the store when it is idle. */
export const closing: readonly Check[] = [
  {
    title: 'close() settles, and so does an upload in flight',
    applies: ifWritable,
    async run(subject) {
      if (subject.store.close === undefined) return;
      const body = new StagedBody();
      const upload = subject.upload('key', body.stream);
      await subject.withDeadline('consuming an upload', body.pushInPieces(content(100_000), 2));
      const closed = subject.store.close();
      // Ends the body, because close() may wait for uploads in flight.
      body.end();
      await subject.withDeadline('close()', closed);
      await subject.withDeadline('put() of a closed store', upload);
      assert(
        body.stream.destroyed || body.stream.readableEnded,
        'expected the store to read the body to its end or to destroy it',
      );
    },
  },
];
