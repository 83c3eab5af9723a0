import type { Readable } from 'node:stream';
import { HotblobError } from '../../src/contract/errors.js';
import type { GetOptions, PutOptions, PutResult } from '../../src/contract/store.js';
import { type BrokenStore, isLarge, PlainStore } from './plain-stores.js';

const DISTINCT = ['unusual keys are distinct, or rejected as invalid'];

/** Creates a store that changes keys. */
const mappingKeys = (map: (key: string) => string) => () =>
  new (class extends PlainStore {
    override get(key: string, options: GetOptions) {
      return super.get(map(key), options);
    }
    override put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
      return super.put(map(key), body, options);
    }
    override delete(key: string): Promise<boolean> {
      return super.delete(map(key));
    }
  })();

/** Stores that break deletions, keys and `close`. */
export const brokenRemovals: Readonly<Record<string, BrokenStore>> = {
  'resolves delete() to true for a miss': {
    fails: [
      'delete() resolves to whether there was an artifact',
      'a key that is a path prefix of another is distinct from it, or rejected as invalid',
    ],
    create: () =>
      new (class extends PlainStore {
        override async delete(key: string): Promise<boolean> {
          await super.delete(key);
          return true;
        }
      })(),
  },
  'resolves delete() to false for an artifact': {
    fails: ['delete() resolves to whether there was an artifact'],
    create: () =>
      new (class extends PlainStore {
        override async delete(key: string): Promise<boolean> {
          await super.delete(key);
          return false;
        }
      })(),
  },
  'does not delete large artifacts': {
    fails: ['a deleted artifact is a miss and can be uploaded again'],
    create: () =>
      new (class extends PlainStore {
        override async delete(key: string): Promise<boolean> {
          return isLarge(this.artifacts.get(key) ?? Buffer.alloc(0)) || super.delete(key);
        }
      })(),
  },
  'deletes all keys with the prefix': {
    fails: [
      'a deletion does not affect other keys',
      'a key that is a path prefix of another is distinct from it, or rejected as invalid',
    ],
    create: () =>
      new (class extends PlainStore {
        override async delete(key: string): Promise<boolean> {
          const existed = this.artifacts.has(key);
          for (const each of this.artifacts.keys()) if (each.startsWith(key)) await super.delete(each);
          return existed;
        }
      })(),
  },
  'rejects keys that start with a dot': {
    fails: ['stores the keys of build tools without mixing them up'],
    create: mappingKeys((key) => {
      if (key.startsWith('.')) throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'key: expected no leading dot');
      return key;
    }),
  },
  'rejects unusual keys with an error without a code': {
    fails: DISTINCT,
    create: mappingKeys((key) => {
      if (key.includes(' ')) throw new Error('key: expected no space');
      return key;
    }),
  },
  'ignores the case of keys': { fails: DISTINCT, create: mappingKeys((key) => key.toLowerCase()) },
  'normalizes keys': { fails: DISTINCT, create: mappingKeys((key) => key.normalize('NFC')) },
  'trims keys': { fails: DISTINCT, create: mappingKeys((key) => key.trim()) },
  'decodes keys': { fails: DISTINCT, create: mappingKeys((key) => key.replaceAll('%20', ' ')) },
  'replaces slashes in keys': { fails: DISTINCT, create: mappingKeys((key) => key.replaceAll('/', '_')) },
  'truncates keys to 255 characters': { fails: DISTINCT, create: mappingKeys((key) => key.slice(0, 255)) },
  'truncates keys to 1,023 characters': { fails: DISTINCT, create: mappingKeys((key) => key.slice(0, 1023)) },
  'uses a plain object as a map': {
    fails: DISTINCT,
    create: () =>
      new (class extends PlainStore {
        readonly #keys: Record<string, string> = {};
        override get(key: string, options: GetOptions) {
          return super.get(this.#keys[key] ?? '', options);
        }
        protected override keep(key: string, bytes: Buffer): void {
          this.#keys[key] = key;
          super.keep(key, bytes);
        }
      })(),
  },
  'returns another artifact for a path prefix of its key': {
    fails: ['a key that is a path prefix of another is distinct from it, or rejected as invalid'],
    create: () =>
      new (class extends PlainStore {
        override get(key: string, options: GetOptions) {
          const below = [...this.artifacts.keys()].find((each) => each.startsWith(`${key}/`));
          return super.get(this.artifacts.has(key) ? key : (below ?? key), options);
        }
      })(),
  },
  'never resolves close() with an upload in flight': {
    fails: ['close() settles, and so does an upload in flight'],
    create: () =>
      new (class extends PlainStore {
        #uploads = 0;
        #isStuck = false;
        override async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
          this.#uploads++;
          return super.put(key, body, options).finally(() => this.#uploads--);
        }
        override async close(): Promise<void> {
          this.#isStuck ||= this.#uploads > 0;
          if (this.#isStuck) await new Promise(() => {});
        }
      })(),
    options: { timeoutMs: 3000 },
  },
  'never settles an upload in flight after close()': {
    fails: ['close() settles, and so does an upload in flight'],
    create: () =>
      new (class extends PlainStore {
        #isClosed = false;
        override async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
          const result = await super.put(key, body, options);
          if (this.#isClosed) await new Promise(() => {});
          return result;
        }
        override async close(): Promise<void> {
          this.#isClosed = true;
        }
      })(),
    options: { timeoutMs: 3000 },
  },
  'rejects close()': {
    fails: 'every check',
    create: () =>
      new (class extends PlainStore {
        override async close(): Promise<void> {
          throw new Error('close failed');
        }
      })(),
  },
};
