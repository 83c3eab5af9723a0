import assert from 'node:assert/strict';
import { assertMetadata } from '../artifacts.js';
import { assertEqual } from '../assert-equal.js';
import { assertBytes, content } from '../bodies.js';
import { outcomeOf } from '../promises.js';
import type { Check } from './check.js';

/** Number of concurrent lookups. It exceeds the concurrency limit of a typical store. */
const CONCURRENT_LOOKUPS = 16;

/** Checks of `get`. */
export const lookups: readonly Check[] = [
  {
    title: 'has exactly the methods that its capabilities name',
    async run({ store, capabilities }) {
      assertEqual(typeof store.get, 'function', 'type of get');
      assertEqual(store.put !== undefined, capabilities.writable, 'put !== undefined (capability writable)');
      assertEqual(store.delete !== undefined, capabilities.deletable, 'delete !== undefined (capability deletable)');
    },
  },
  {
    title: 'returns undefined, or a promise of it, for a miss',
    async run(subject) {
      for (const key of ['nothing', 'nothing/here/either']) {
        const result = subject.store.get(key, { signal: subject.signal() });
        const artifact = await subject.withDeadline('get()', Promise.resolve(result));
        // A file artifact can be a miss too: whether its file exists is known only when it is opened.
        if (artifact === undefined || artifact?.kind === 'file') await subject.assertMiss(key);
        else assertEqual(artifact, undefined, 'get() for a miss');
      }
    },
  },
  {
    title: 'artifact metadata is valid in response headers and does not change between lookups',
    async run(subject) {
      await subject.add('key', content(1000));
      const first = await subject.get('key');
      const second = await subject.get('key');
      assert(first !== undefined && second !== undefined, `expected an artifact under 'key', received a miss`);
      assertMetadata(first);
      assertEqual(second.etag, first.etag, 'etag of an unchanged artifact');
      assertEqual(
        second.lastModified?.getTime(),
        first.lastModified?.getTime(),
        'lastModified of an unchanged artifact',
      );
      assertEqual(second.contentType, first.contentType, 'contentType of an unchanged artifact');
      assertEqual(second.contentEncoding, first.contentEncoding, 'contentEncoding of an unchanged artifact');
    },
  },
  {
    title: 'concurrent lookups all find the whole artifact',
    async run(subject) {
      const bytes = content(100_000);
      await subject.add('key', bytes);
      await Promise.all(Array.from({ length: CONCURRENT_LOOKUPS }, () => subject.assertHolds('key', bytes)));
    },
  },
  {
    title: 'an aborted lookup does not affect other lookups',
    async run(subject) {
      const bytes = content(100_000);
      await subject.add('key', bytes);
      const controllers = [new AbortController(), new AbortController()] as const;
      const [abortedBefore, abortedDuring] = controllers;
      abortedBefore.abort();
      // Calls the store directly: subject.get() is asynchronous, and all three lookups must start before the abort.
      const aborted = controllers.map(({ signal }) => outcomeOf(() => subject.store.get('key', { signal })));
      const unaffected = outcomeOf(() => subject.read('key'));
      abortedDuring.abort();
      const other = await unaffected;
      if (!other.ok) throw other.error;
      assert(other.value !== undefined, 'expected the artifact for another client, received a miss');
      assertBytes(other.value, bytes, 'artifact for another client');
      await subject.withDeadline('get() with an aborted signal', Promise.all(aborted));
      await subject.assertHolds('key', bytes);
    },
  },
];
