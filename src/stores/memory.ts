import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { BytesArtifact, UploadMetadata } from '../contract/artifact.js';
import { HotblobError } from '../contract/errors.js';
import {
  assertKey,
  type GetOptions,
  type PutOptions,
  type PutResult,
  type ReadWriteStore,
  type StoreEntry,
  type StoreStats,
} from '../contract/store.js';
import { decodeMetadata, encodeMetadata } from '../contract/upload-metadata.js';
import { assertOptions, BYTES } from '../contract/validation.js';
import { chunksOf, discard } from './body.js';

/** What {@link memoryStore} takes. */
export interface MemoryStoreOptions {
  /**
   * All that the store may hold, in bytes: artifacts, uploads in progress, and for each artifact its key, what its upload
   * has said about it, and 1 KiB of bookkeeping. Default: 64 MiB.
   */
  readonly maxBytes?: number | undefined;
}

/** A store that can do everything and answers at once. */
export interface MemoryStore extends ReadWriteStore {
  get(key: string, options?: GetOptions): BytesArtifact | undefined;
  /** Last used is when it was put: to look at a clock would make a read slower by a fifth. */
  list(): AsyncIterable<StoreEntry>;
  stats(): StoreStats;
}

const DEFAULT_MAX_BYTES = 64 * 1024 * 1024;
/** An artifact takes 550 to 650 bytes of heap and 1.1 KiB of resident memory without its bytes; else empty ones had no bound. */
const BOOKKEEPING_BYTES = 1024;
/** Entries listed between two turns of the event loop. */
const SLICE = 1000;
/** Characters of base64url: 132 bits, far beyond any accident. */
const ETAG_CHARACTERS = 22;

/**
 * A store in the memory of this process. When it is full, the artifact that was used longest ago goes.
 *
 * Uploads in progress count, so that the limit holds however many there are; what they push out is gone even when they
 * fail, and where they alone fill the store the next chunk is refused with `ERR_HOTBLOB_OVERLOADED`. For the moment in
 * which an upload's chunks are joined, its bytes are there twice.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 */
export function memoryStore(options: MemoryStoreOptions = {}): MemoryStore {
  assertOptions(options, { maxBytes: BYTES });
  return new ArtifactsInMemory(options.maxBytes ?? DEFAULT_MAX_BYTES);
}

class ArtifactsInMemory implements MemoryStore {
  readonly #maxBytes: number;
  /** The artifact used longest ago comes first. */
  readonly #artifacts = new Map<string, Kept>();
  #usedBytes = 0;
  #evicted = 0;
  #closed = false;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get(key: string): BytesArtifact | undefined {
    const kept = this.#artifacts.get(key);
    if (kept === undefined) return undefined;
    this.#artifacts.delete(key);
    this.#artifacts.set(key, kept);
    return kept.artifact;
  }

  async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
    const chunks: Uint8Array[] = [];
    const hash = createHash('sha256');
    let taken = 0;
    let metadata: UploadMetadata | undefined;
    const take = (bytes: number): void => {
      this.#makeRoom(bytes);
      this.#usedBytes += bytes;
      taken += bytes;
    };
    try {
      assertKey(key);
      this.#assertOpen();
      const said = encodeMetadata(options.metadata);
      metadata = said && decodeMetadata(said);
      const overhead = overheadOf(key, said);
      for await (const chunk of chunksOf(body, options, this.#maxBytes - overhead)) {
        take(chunk.byteLength);
        hash.update(chunk);
        chunks.push(chunk);
      }
      this.#assertOpen();
      take(overhead);
    } catch (error) {
      this.#usedBytes -= taken;
      discard(body);
      throw error;
    }
    const created = !this.#remove(key);
    const etag = `"${hash.digest('base64url').slice(0, ETAG_CHARACTERS)}"`;
    const bytes = Buffer.concat(chunks);
    const artifact: BytesArtifact = { kind: 'bytes', bytes, etag, lastModified: new Date(), ...metadata };
    this.#artifacts.set(key, { artifact, takenBytes: taken, putAt: Date.now() });
    return { created, etag };
  }

  async delete(key: string): Promise<boolean> {
    return this.#remove(key);
  }

  async *list(): AsyncGenerator<StoreEntry> {
    let left = SLICE;
    // The keys as they are now: each `get` brings one to the end of the map, and who goes along with it might never get there.
    for (const key of [...this.#artifacts.keys()]) {
      if (left-- === 0) {
        await nextTurn();
        left = SLICE;
      }
      const kept = this.#artifacts.get(key);
      if (kept === undefined) continue;
      const { artifact, putAt } = kept;
      yield { key, artifact, size: artifact.bytes.byteLength, usedAt: putAt };
    }
  }

  stats(): StoreStats {
    return {
      artifacts: this.#artifacts.size,
      bytes: this.#usedBytes,
      maxBytes: this.#maxBytes,
      evicted: this.#evicted,
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const key of this.#artifacts.keys()) this.#remove(key);
  }

  #makeRoom(bytes: number): void {
    for (const key of this.#artifacts.keys()) {
      if (this.#usedBytes + bytes <= this.#maxBytes) return;
      this.#remove(key);
      this.#evicted++;
    }
    if (this.#usedBytes + bytes <= this.#maxBytes) return;
    throw new HotblobError('ERR_HOTBLOB_OVERLOADED', `uploads in progress fill the store's ${this.#maxBytes} bytes`);
  }

  #remove(key: string): boolean {
    const kept = this.#artifacts.get(key);
    if (kept === undefined) return false;
    this.#artifacts.delete(key);
    this.#usedBytes -= kept.takenBytes;
    return true;
  }

  #assertOpen(): void {
    if (this.#closed) throw new HotblobError('ERR_HOTBLOB_OVERLOADED', 'the store has been closed');
  }
}

interface Kept {
  readonly artifact: BytesArtifact;
  readonly takenBytes: number;
  /** Milliseconds since 1970. */
  readonly putAt: number;
}

function overheadOf(key: string, metadata: Uint8Array | undefined): number {
  // V8 takes up to two bytes for a character.
  return BOOKKEEPING_BYTES + 2 * (key.length + (metadata?.byteLength ?? 0));
}
