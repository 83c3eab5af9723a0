import { truncateSync, unlinkSync, writeFileSync } from 'node:fs';
import { rename, rm, stat } from 'node:fs/promises';
import type { FileArtifact } from '../../src/contract/artifact.js';
import { type BrokenStore, isLarge, LARGE_BYTES, PlainFileStore, PlainStore } from './plain-stores.js';

const LIMIT = 2 * 1024 * 1024;
const EVICTING = { capabilities: { evictsAbove: LIMIT } };

/** Store with a size limit that evicts the oldest artifact first. */
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

/** Store that overwrites large files in place. */
class RewritingStore extends PlainFileStore {
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

/** Store that truncates a file before it unlinks it. */
class TruncatingStore extends PlainFileStore {
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

/** Stores that break reads in flight, and eviction. */
export const brokenInFlight: Readonly<Record<string, BrokenStore>> = {
  'evicts correctly': { fails: [], create: () => new PlainEvictingStore(), options: EVICTING },
  'stores files correctly': { fails: [], create: (directory) => new PlainFileStore(directory) },
  'writes new bytes into the old buffer': {
    fails: ['an overwrite does not affect a read in flight'],
    create: () =>
      new (class extends PlainStore {
        protected override keep(key: string, bytes: Buffer): void {
          const old = this.artifacts.get(key);
          if (old !== undefined && isLarge(old)) bytes.copy(old);
          super.keep(key, bytes);
        }
      })(),
  },
  'clears the buffer of a deleted artifact': {
    fails: ['a deletion does not affect a read in flight'],
    create: () =>
      new (class extends PlainStore {
        override async delete(key: string): Promise<boolean> {
          this.artifacts.get(key)?.fill(0);
          return super.delete(key);
        }
      })(),
  },
  'clears the buffer of an evicted artifact': {
    fails: ['an eviction does not affect a read in flight'],
    create: () =>
      new (class extends PlainEvictingStore {
        protected override evict(key: string, bytes: Buffer): void {
          bytes.fill(0);
          super.evict(key, bytes);
        }
      })(),
    options: EVICTING,
  },
  'never evicts, but has the capability evictsAbove': {
    fails: ['an eviction does not affect a read in flight', 'evicts old artifacts, never the latest upload'],
    create: () => new PlainStore(),
    options: EVICTING,
  },
  'evicts the latest upload': {
    fails: ['an eviction does not affect a read in flight', 'evicts old artifacts, never the latest upload'],
    create: () =>
      new (class extends PlainEvictingStore {
        protected override keep(key: string, bytes: Buffer): void {
          if (this.bytes + bytes.byteLength <= LIMIT) super.keep(key, bytes);
        }
      })(),
    options: EVICTING,
  },
  'evicts everything when it is full': {
    fails: ['an eviction does not affect a read in flight', 'evicts old artifacts, never the latest upload'],
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
    fails: ['an overwrite does not affect a read in flight'],
    create: (directory) =>
      new (class extends RewritingStore {
        override get(key: string): FileArtifact {
          return { kind: 'file', path: this.pathOf(key) };
        }
      })(directory),
  },
  'rewrites immutable files': {
    fails: [
      'an overwrite does not affect a read in flight',
      'an immutable file is never truncated or rewritten in place',
    ],
    create: (directory) => new RewritingStore(directory),
  },
  'truncates immutable files': {
    fails: [
      'a deletion does not affect a read in flight',
      'an immutable file is never truncated or rewritten in place',
    ],
    create: (directory) => new TruncatingStore(directory),
  },
  'truncates immutable files, without the capability survivesDelete': {
    fails: ['an immutable file is never truncated or rewritten in place'],
    create: (directory) => new TruncatingStore(directory),
    options: { capabilities: { survivesDelete: false } },
  },
  'returns a length larger than the file for large artifacts': {
    fails: [
      'a large artifact has the bytes that were stored',
      'an aborted read does not affect other reads',
      'an overwrite does not affect a read in flight',
      'a deletion does not affect a read in flight',
      'an immutable file is never truncated or rewritten in place',
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
