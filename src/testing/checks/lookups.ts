import assert from 'node:assert/strict';
import { assertMetadata } from '../artifacts.js';
import { assertBytes, content } from '../bodies.js';
import type { Check } from '../check.js';
import { outcomeOf } from '../steps.js';

/** More than a store that counts what it does at a time is likely to allow. */
const MANY = 16;

/** What `get` says, and to whom. */
export const lookups: readonly Check[] = [
  {
    title: 'it has the methods that its capabilities name',
    async run({ store, capabilities }) {
      assert.equal(typeof store.get, 'function', 'get is what every store has');
      assert.equal(store.put !== undefined, capabilities.writable, 'whether there is put');
      assert.equal(store.delete !== undefined, capabilities.deletable, 'whether there is delete');
    },
  },
  {
    title: 'a miss is undefined, or a promise of it',
    async run(subject) {
      for (const key of ['nothing', 'nothing/here/either']) {
        const answer = subject.store.get(key, { signal: subject.signal() });
        const found = await subject.within('get()', Promise.resolve(answer));
        // Of a file artifact nobody knows until it is opened.
        if (found === undefined || found?.kind === 'file') await subject.assertMiss(key);
        else assert.fail(`a miss must be undefined, found ${found === null ? 'null' : found.kind}`);
      }
    },
  },
  {
    title: 'what an artifact says about itself can be sent as headers, and stays the same',
    async run(subject) {
      await subject.fill('key', content(1000));
      const first = await subject.lookUp('key');
      const second = await subject.lookUp('key');
      assert(first !== undefined && second !== undefined, `nothing is found under 'key'`);
      assertMetadata(first);
      assert.equal(second.etag, first.etag, 'the entity tag of an artifact that has not changed');
      assert.equal(second.lastModified?.getTime(), first.lastModified?.getTime(), 'lastModified of the same');
      assert.equal(second.contentType, first.contentType, 'contentType of the same');
      assert.equal(second.contentEncoding, first.contentEncoding, 'contentEncoding of the same');
    },
  },
  {
    title: 'many lookups at a time all find the artifact, whole',
    async run(subject) {
      const bytes = content(100_000);
      await subject.fill('key', bytes);
      await Promise.all(Array.from({ length: MANY }, () => subject.assertHolds('key', bytes)));
    },
  },
  {
    title: 'a lookup whose client leaves disturbs no other',
    async run(subject) {
      const bytes = content(100_000);
      await subject.fill('key', bytes);
      const controllers = [new AbortController(), new AbortController()] as const;
      const [before, meanwhile] = controllers;
      before.abort();
      // Called here, and not through lookUp(): all three are to be on their way before the signal is aborted.
      const gone = controllers.map(({ signal }) => outcomeOf(() => subject.store.get('key', { signal })));
      const staying = outcomeOf(() => subject.read('key'));
      meanwhile.abort();
      const other = await staying;
      if (!other.ok) throw other.error;
      assert(other.value !== undefined, 'the lookup of another client found nothing');
      assertBytes(other.value, bytes, 'what another client gets');
      await subject.within('get() for a client that has left', Promise.all(gone));
      await subject.assertHolds('key', bytes);
    },
  },
];
