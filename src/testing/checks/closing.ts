import assert from 'node:assert/strict';
import { content, StagedBody } from '../bodies.js';
import { type Check, ifWritable } from '../check.js';

/** `close`, beyond what every check does at its end. */
export const closing: readonly Check[] = [
  {
    title: 'closing ends, and so does an upload that was under way',
    applies: ifWritable,
    async run(subject) {
      if (subject.store.close === undefined) return;
      const body = new StagedBody();
      const upload = subject.upload('key', body.stream);
      await subject.within('taking an upload', body.giveInPieces(content(100_000), 2));
      const closed = subject.store.close();
      // A store may wait for its uploads; so that it can, this one comes to its end.
      body.end();
      await subject.within('close()', closed);
      await subject.within('put() of a store that is closed', upload);
      assert(body.stream.destroyed || body.stream.readableEnded, 'nobody reads the upload any more, or ends it');
    },
  },
];
