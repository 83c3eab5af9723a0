import type { Readable } from 'node:stream';
import { HotblobError } from '../../src/contract/errors.js';
import type { GetOptions, PutOptions, PutResult } from '../../src/contract/store.js';
import { type BrokenStore, isLarge, PlainStore } from './plain-stores.js';

const KEPT_APART = ['odd keys are kept apart, or refused as keys'];

/** A store that takes other keys for the same. */
const mapping = (map: (key: string) => string) => () =>
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

/** Deletions, keys, and the end. */
export const brokenRemovals: Readonly<Record<string, BrokenStore>> = {
  'has always deleted something': {
    fails: [
      'a deletion says whether there was something to delete',
      'a key that another one begins with is kept apart from it, or refused as a key',
    ],
    create: () =>
      new (class extends PlainStore {
        override async delete(key: string): Promise<boolean> {
          await super.delete(key);
          return true;
        }
      })(),
  },
  'has never deleted anything': {
    fails: ['a deletion says whether there was something to delete'],
    create: () =>
      new (class extends PlainStore {
        override async delete(key: string): Promise<boolean> {
          await super.delete(key);
          return false;
        }
      })(),
  },
  'does not delete what is large': {
    fails: ['what was deleted is a miss, and can be put again'],
    create: () =>
      new (class extends PlainStore {
        override async delete(key: string): Promise<boolean> {
          return isLarge(this.artifacts.get(key) ?? Buffer.alloc(0)) || super.delete(key);
        }
      })(),
  },
  'deletes whatever begins with a key': {
    fails: [
      'a deletion leaves everything else',
      'a key that another one begins with is kept apart from it, or refused as a key',
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
  'refuses keys that begin with a dot': {
    fails: ['the keys of build tools are all taken, and kept apart'],
    create: mapping((key) => {
      if (key.startsWith('.')) throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'no dots');
      return key;
    }),
  },
  'refuses odd keys with an error of its own': {
    fails: KEPT_APART,
    create: mapping((key) => {
      if (key.includes(' ')) throw new Error('no spaces');
      return key;
    }),
  },
  'does not tell capitals from others': { fails: KEPT_APART, create: mapping((key) => key.toLowerCase()) },
  'normalises keys': { fails: KEPT_APART, create: mapping((key) => key.normalize('NFC')) },
  'trims keys': { fails: KEPT_APART, create: mapping((key) => key.trim()) },
  'decodes keys': { fails: KEPT_APART, create: mapping((key) => key.replaceAll('%20', ' ')) },
  'knows no directories': { fails: KEPT_APART, create: mapping((key) => key.replaceAll('/', '_')) },
  'cuts keys off after 255 characters': { fails: KEPT_APART, create: mapping((key) => key.slice(0, 255)) },
  'cuts keys off after 1,023 characters': { fails: KEPT_APART, create: mapping((key) => key.slice(0, 1023)) },
  'keeps its artifacts in an object': {
    fails: KEPT_APART,
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
  'finds a key that another one begins with': {
    fails: ['a key that another one begins with is kept apart from it, or refused as a key'],
    create: () =>
      new (class extends PlainStore {
        override get(key: string, options: GetOptions) {
          const below = [...this.artifacts.keys()].find((each) => each.startsWith(`${key}/`));
          return super.get(this.artifacts.has(key) ? key : (below ?? key), options);
        }
      })(),
  },
  'never comes to an end when an upload is under way': {
    fails: ['closing ends, and so does an upload that was under way'],
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
  'forgets an upload that is under way when it is closed': {
    fails: ['closing ends, and so does an upload that was under way'],
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
  'fails to close': {
    fails: 'every check',
    create: () =>
      new (class extends PlainStore {
        override async close(): Promise<void> {
          throw new Error('cannot be closed');
        }
      })(),
  },
};
