import { truncateSync, unlinkSync, writeFileSync } from 'node:fs';
import { rename, rm, stat } from 'node:fs/promises';
import type { FileArtifact } from '../../src/contract/artifact.js';
import { type BrokenStore, isLarge, LARGE_BYTES, PlainFileStore, PlainStore } from './plain-stores.js';

const LIMIT = 2 * 1024 * 1024;
const EVICTING = { capabilities: { evictsAbove: LIMIT } };

/** A store that makes room above a limit, the oldest first. */
class PlainEvictingStore extends PlainStore {
  protected override keep(key: string, bytes: Buffer): void {
    this.artifacts.delete(key);
    super.keep(key, bytes);
    for (const [oldest, victim] of this.artifacts) {
      if (this.bytes <= LIMIT) return;
      this.evict(oldest, victim);
    }
  }

  protected evict(key: string, _bytes: Buffer): void {
    this.artifacts.delete(key);
  }

  protected get bytes(): number {
    return [...this.artifacts.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
  }
}

/** Writes large artifacts where the old ones are. */
class StoreThatRewrites extends PlainFileStore {
  protected override async place(temporary: string, path: string, bytes: Buffer): Promise<void> {
    const isOverwrite = await stat(path).then(
      ({ size }) => size >= LARGE_BYTES,
      () => false,
    );
    if (!isOverwrite) return rename(temporary, path);
    writeFileSync(path, bytes);
    await rm(temporary);
  }
}

/** Cuts files off before it deletes them. */
class StoreThatTruncates extends PlainFileStore {
  override async delete(key: string): Promise<boolean> {
    try {
      truncateSync(this.pathOf(key));
      unlinkSync(this.pathOf(key));
      return true;
    } catch {
      return false;
    }
  }
}

/** Reads in flight. */
export const brokenInFlight: Readonly<Record<string, BrokenStore>> = {
  'is what a store that makes room should be': { fails: [], create: () => new PlainEvictingStore(), options: EVICTING },
  'is what a store of files should be': { fails: [], create: (directory) => new PlainFileStore(directory) },
  'puts new bytes into the old buffer': {
    fails: ['a read in flight is not touched by an overwrite'],
    create: () =>
      new (class extends PlainStore {
        protected override keep(key: string, bytes: Buffer): void {
          const old = this.artifacts.get(key);
          if (old !== undefined && isLarge(old)) bytes.copy(old);
          super.keep(key, bytes);
        }
      })(),
  },
  'clears the buffer of what is deleted': {
    fails: ['a read in flight is not touched by a deletion'],
    create: () =>
      new (class extends PlainStore {
        override async delete(key: string): Promise<boolean> {
          this.artifacts.get(key)?.fill(0);
          return super.delete(key);
        }
      })(),
  },
  'clears the buffer of what is evicted': {
    fails: ['a read in flight is not touched by an eviction'],
    create: () =>
      new (class extends PlainEvictingStore {
        protected override evict(key: string, bytes: Buffer): void {
          bytes.fill(0);
          super.evict(key, bytes);
        }
      })(),
    options: EVICTING,
  },
  'never makes room, and says that it does': {
    fails: [
      'a read in flight is not touched by an eviction',
      'making room takes what is old, and never what was put last',
    ],
    create: () => new PlainStore(),
    options: EVICTING,
  },
  'evicts what was put last': {
    fails: [
      'a read in flight is not touched by an eviction',
      'making room takes what is old, and never what was put last',
    ],
    create: () =>
      new (class extends PlainEvictingStore {
        protected override keep(key: string, bytes: Buffer): void {
          if (this.bytes + bytes.byteLength <= LIMIT) super.keep(key, bytes);
        }
      })(),
    options: EVICTING,
  },
  'evicts everything when it is full': {
    fails: [
      'a read in flight is not touched by an eviction',
      'making room takes what is old, and never what was put last',
    ],
    create: () =>
      new (class extends PlainEvictingStore {
        protected override keep(key: string, bytes: Buffer): void {
          super.keep(key, bytes);
          if (this.bytes > 0.9 * LIMIT) this.artifacts.clear();
        }
      })(),
    options: EVICTING,
  },
  'rewrites files in place': {
    fails: ['a read in flight is not touched by an overwrite'],
    create: (directory) =>
      new (class extends StoreThatRewrites {
        override get(key: string): FileArtifact {
          return { kind: 'file', path: this.pathOf(key) };
        }
      })(directory),
  },
  'rewrites files that it promises to be immutable': {
    fails: [
      'a read in flight is not touched by an overwrite',
      'a file that is promised to be immutable is never truncated, nor written to where it has been read',
    ],
    create: (directory) => new StoreThatRewrites(directory),
  },
  'cuts off files that it promises to be immutable': {
    fails: [
      'a read in flight is not touched by a deletion',
      'a file that is promised to be immutable is never truncated, nor written to where it has been read',
    ],
    create: (directory) => new StoreThatTruncates(directory),
  },
  'cuts off files that it promises to be immutable, and says that reads may fail': {
    fails: ['a file that is promised to be immutable is never truncated, nor written to where it has been read'],
    create: (directory) => new StoreThatTruncates(directory),
    options: { capabilities: { survivesDelete: false } },
  },
  'says that a large artifact is longer than its file': {
    fails: [
      'a large artifact is read back, whole',
      'a reader that leaves disturbs no other',
      'a read in flight is not touched by an overwrite',
      'a read in flight is not touched by a deletion',
      'a file that is promised to be immutable is never truncated, nor written to where it has been read',
    ],
    create: (directory) =>
      new (class extends PlainFileStore {
        override async get(key: string): Promise<FileArtifact> {
          const path = this.pathOf(key);
          const { size } = await stat(path).catch(() => ({ size: 0 }));
          return { kind: 'file', path, immutable: true, length: size >= LARGE_BYTES ? size + 1 : undefined };
        }
      })(directory),
  },
};
