import type { StoreEntry } from '../../src/contract/store.js';
import { type BrokenStore, isLarge, PlainStore } from './plain-stores.js';

const LISTED = 'a store that can be listed lists what is there: each artifact once, with its key and its size';
const OVERWRITTEN = 'a store that can be listed lists what an overwrite has put';
const DELETED = 'a store that can be listed does not list what was deleted';

/** A store that can be listed, and keeps every promise. */
class ListedStore extends PlainStore {
  async *list(): AsyncGenerator<StoreEntry> {
    for (const [key, bytes] of this.artifacts) yield this.entryOf(key, bytes);
  }

  protected entryOf(key: string, bytes: Buffer): StoreEntry {
    return { key, artifact: this.artifactOf(bytes, key), size: bytes.byteLength, usedAt: 0 };
  }
}

const listing = (change: (entry: StoreEntry, bytes: Buffer) => Partial<StoreEntry>) => () =>
  new (class extends ListedStore {
    protected override entryOf(key: string, bytes: Buffer): StoreEntry {
      const entry = super.entryOf(key, bytes);
      return { ...entry, ...change(entry, bytes) };
    }
  })();

/** Lists of what is kept. */
export const brokenListing: Readonly<Record<string, BrokenStore>> = {
  'can be listed, and does all that is promised': { fails: [], create: () => new ListedStore() },
  'lists nothing': {
    fails: [LISTED, OVERWRITTEN, DELETED],
    create: () =>
      new (class extends ListedStore {
        override async *list() {}
      })(),
  },
  'lists everything twice': {
    fails: [LISTED, OVERWRITTEN, DELETED],
    create: () =>
      new (class extends ListedStore {
        override async *list() {
          yield* super.list();
          yield* super.list();
        }
      })(),
  },
  'lists what is large as empty': {
    fails: [LISTED, OVERWRITTEN],
    create: listing((_, bytes) => (isLarge(bytes) ? { size: 0 } : {})),
  },
  'lists other keys': {
    fails: [LISTED, OVERWRITTEN, DELETED],
    create: listing(({ key }) => ({ key: `/${key}` })),
  },
  'lists artifacts that are others': {
    fails: [LISTED],
    create: listing(({ artifact }) => ({
      artifact: { ...artifact, kind: 'bytes', bytes: Buffer.from('another') },
    })),
  },
  'lists no time of use': {
    fails: [LISTED],
    create: listing(() => ({ usedAt: Number.NaN })),
  },
  'can be listed once': {
    fails: [LISTED, OVERWRITTEN],
    create: () => {
      const store = new ListedStore();
      const list = store.list();
      return Object.assign(store, { list: () => list });
    },
  },
  'lists what was there once': {
    fails: [DELETED],
    create: () =>
      new (class extends ListedStore {
        readonly #listed = new Map<string, Buffer>();
        protected override keep(key: string, bytes: Buffer): void {
          super.keep(key, bytes);
          this.#listed.set(key, bytes);
        }
        override async *list() {
          for (const [key, bytes] of this.#listed) yield this.entryOf(key, bytes);
        }
      })(),
  },
  'lists what was put first': {
    fails: [OVERWRITTEN],
    create: () =>
      new (class extends ListedStore {
        readonly #listed = new Map<string, Buffer>();
        protected override keep(key: string, bytes: Buffer): void {
          super.keep(key, bytes);
          if (!this.#listed.has(key)) this.#listed.set(key, bytes);
        }
        override async delete(key: string): Promise<boolean> {
          this.#listed.delete(key);
          return super.delete(key);
        }
        override async *list() {
          for (const [key, bytes] of this.#listed) yield this.entryOf(key, bytes);
        }
      })(),
  },
};
