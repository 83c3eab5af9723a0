import type { StoreEntry } from '../../src/contract/store.js';
import { type BrokenStore, isLarge, PlainStore } from './plain-stores.js';

const LISTED = 'list() returns each artifact once, with its key and size';
const OVERWRITTEN = 'list() returns the new size after an overwrite';
const DELETED = 'list() does not return deleted artifacts';

/** Correct store with list(). */
class ListingStore extends PlainStore {
  async *list(): AsyncGenerator<StoreEntry> {
    for (const [key, bytes] of this.artifacts) yield this.entryOf(key, bytes);
  }

  protected entryOf(key: string, bytes: Buffer): StoreEntry {
    return { key, artifact: this.artifactOf(bytes, key), size: bytes.byteLength, usedAt: 0 };
  }
}

const withEntries = (change: (entry: StoreEntry, bytes: Buffer) => Partial<StoreEntry>) => () =>
  new (class extends ListingStore {
    protected override entryOf(key: string, bytes: Buffer): StoreEntry {
      const entry = super.entryOf(key, bytes);
      return { ...entry, ...change(entry, bytes) };
    }
  })();

/** Stores that break `list`. */
export const brokenListing: Readonly<Record<string, BrokenStore>> = {
  'lists correctly': { fails: [], create: () => new ListingStore() },
  'lists nothing': {
    fails: [LISTED, OVERWRITTEN, DELETED],
    create: () =>
      new (class extends ListingStore {
        override async *list() {}
      })(),
  },
  'lists everything twice': {
    fails: [LISTED, OVERWRITTEN, DELETED],
    create: () =>
      new (class extends ListingStore {
        override async *list() {
          yield* super.list();
          yield* super.list();
        }
      })(),
  },
  'lists large artifacts with a size of 0': {
    fails: [LISTED, OVERWRITTEN],
    create: withEntries((_, bytes) => (isLarge(bytes) ? { size: 0 } : {})),
  },
  'lists wrong keys': {
    fails: [LISTED, OVERWRITTEN, DELETED],
    create: withEntries(({ key }) => ({ key: `/${key}` })),
  },
  'lists wrong artifacts': {
    fails: [LISTED],
    create: withEntries(({ artifact }) => ({
      artifact: { ...artifact, kind: 'bytes', bytes: Buffer.from('another') },
    })),
  },
  'lists NaN as usedAt': {
    fails: [LISTED],
    create: withEntries(() => ({ usedAt: Number.NaN })),
  },
  'returns the same iterator for every list() call': {
    fails: [LISTED, OVERWRITTEN],
    create: () => {
      const store = new ListingStore();
      const list = store.list();
      return Object.assign(store, { list: () => list });
    },
  },
  'lists deleted artifacts': {
    fails: [DELETED],
    create: () =>
      new (class extends ListingStore {
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
  'lists the first upload of a key after an overwrite': {
    fails: [OVERWRITTEN],
    create: () =>
      new (class extends ListingStore {
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
