import { Readable } from 'node:stream';
import type { Artifact, StreamArtifact } from '../../src/contract/artifact.js';
import type { GetOptions, PutOptions, PutResult } from '../../src/contract/store.js';
import {
  type BrokenStore,
  isLarge,
  LARGE_BYTES,
  nextTurn,
  PlainStore,
  PlainStreamStore,
  readableOf,
} from './plain-stores.js';

const READS_OF_LARGE = [
  'a large artifact has the bytes that were stored',
  'an aborted read does not affect other reads',
  'an overwrite does not affect a read in flight',
  'a deletion does not affect a read in flight',
];

/** Creates a store that changes the metadata of its artifacts. */
const withMetadata = (metadata: (artifact: Artifact) => Partial<Artifact>) => () =>
  new (class extends PlainStore {
    protected override artifactOf(bytes: Buffer, key: string): Artifact {
      const artifact = super.artifactOf(bytes, key);
      return Object.assign(artifact, metadata(artifact));
    }
    override async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
      const { created } = await super.put(key, body, options);
      return { created };
    }
  })();

/** Stores that break lookups. */
export const brokenLookups: Readonly<Record<string, BrokenStore>> = {
  'has put(), but not the capability writable': {
    fails: ['has exactly the methods that its capabilities name'],
    create: () => new PlainStore(),
    options: {
      capabilities: { writable: false, deletable: true },
      seed: async (store, key, bytes) => {
        await store.put?.(key, readableOf(Buffer.from(bytes)), { signal: new AbortController().signal });
      },
    },
  },
  'returns null for a miss': {
    fails: ['returns undefined, or a promise of it, for a miss'],
    create: () =>
      new (class extends PlainStore {
        override get(key: string, options: GetOptions) {
          return super.get(key, options) ?? (null as unknown as undefined);
        }
      })(),
  },
  'returns an entity tag without quotes': {
    fails: ['artifact metadata is valid in response headers and does not change between lookups'],
    create: withMetadata(({ etag }) => ({ etag: etag?.slice(1, -1) })),
  },
  'returns a different entity tag for each lookup': {
    fails: ['artifact metadata is valid in response headers and does not change between lookups'],
    create: withMetadata(() => ({ etag: `"${Math.random()}"` })),
  },
  'returns an invalid date': {
    fails: ['artifact metadata is valid in response headers and does not change between lookups'],
    create: withMetadata(() => ({ lastModified: new Date(Number.NaN) })),
  },
  'returns a header with a line break': {
    fails: ['artifact metadata is valid in response headers and does not change between lookups'],
    create: withMetadata(() => ({ headers: { 'x-tag': 'a\r\nset-cookie: b' } })),
  },
  'derives the entity tag from the size': {
    fails: ['different uploads have different entity tags, if any'],
    create: withMetadata((artifact) => ({
      etag: artifact.kind === 'bytes' ? `"${artifact.bytes.byteLength}"` : undefined,
    })),
  },
  'returns a miss for too many concurrent lookups': {
    fails: ['concurrent lookups all find the whole artifact'],
    create: () =>
      new (class extends PlainStore {
        #running = 0;
        override async get(key: string, options: GetOptions) {
          if (this.#running >= 8) return undefined;
          this.#running++;
          await nextTurn();
          this.#running--;
          return super.get(key, options);
        }
      })(),
  },
  'rejects all concurrent lookups if one is aborted': {
    fails: ['an aborted lookup does not affect other lookups'],
    create: () =>
      new (class extends PlainStore {
        readonly #running = new Map<string, Promise<Artifact | undefined>>();
        override get(key: string, options: GetOptions) {
          const running = this.#running.get(key) ?? this.#find(key, options).finally(() => this.#running.delete(key));
          this.#running.set(key, running);
          return running;
        }
        async #find(key: string, options: GetOptions) {
          await nextTurn();
          options.signal.throwIfAborted();
          return super.get(key, options);
        }
      })(),
  },
  'alters artifacts of one size': {
    fails: ['an artifact has the bytes that were stored'],
    create: () =>
      new (class extends PlainStore {
        protected override keep(key: string, bytes: Buffer): void {
          if (bytes.byteLength === 4096) bytes.writeUInt8(bytes.readUInt8(4095) ^ 1, 4095);
          super.keep(key, bytes);
        }
      })(),
  },
  'treats an empty artifact as a miss': {
    fails: [
      'an empty artifact is not a miss',
      'an upload of unknown length is stored as a whole',
      'an upload replaces a longer or shorter artifact',
    ],
    create: () =>
      new (class extends PlainStore {
        override get(key: string, options: GetOptions) {
          return this.artifacts.get(key)?.byteLength === 0 ? undefined : super.get(key, options);
        }
      })(),
  },
  'truncates large artifacts': {
    fails: READS_OF_LARGE,
    create: () =>
      new (class extends PlainStore {
        protected override keep(key: string, bytes: Buffer): void {
          super.keep(key, bytes.subarray(0, LARGE_BYTES - 1));
        }
      })(),
  },
  'stores large artifacts after put() has resolved': {
    fails: [...READS_OF_LARGE, 'an immutable file is never truncated or rewritten in place'],
    create: () =>
      new (class extends PlainStore {
        protected override keep(key: string, bytes: Buffer): void {
          if (isLarge(bytes)) setImmediate(() => setImmediate(() => super.keep(key, bytes)));
          else super.keep(key, bytes);
        }
      })(),
  },
};

/** Stores that break streams. */
export const brokenStreams: Readonly<Record<string, BrokenStore>> = {
  'ignores ranges': {
    fails: ['a range has exactly its bytes'],
    create: () =>
      new (class extends PlainStreamStore {
        protected override streamOf(bytes: Buffer, key: string): StreamArtifact {
          return { ...super.streamOf(bytes, key), open: () => readableOf(bytes) };
        }
      })(),
  },
  'treats the end of a range as inclusive': {
    fails: ['a range has exactly its bytes'],
    create: () =>
      new (class extends PlainStreamStore {
        protected override streamOf(bytes: Buffer, key: string): StreamArtifact {
          const open: StreamArtifact['open'] = (range) =>
            readableOf(bytes.subarray(range?.start, range && range.end + 1));
          return { ...super.streamOf(bytes, key), open };
        }
      })(),
  },
  'returns streams without a size': {
    fails: ['a range has exactly its bytes'],
    create: () =>
      new (class extends PlainStreamStore {
        protected override streamOf(bytes: Buffer, key: string): StreamArtifact {
          return { ...super.streamOf(bytes, key), size: undefined };
        }
      })(),
  },
  'returns streams with a size, without the capability ranges': {
    fails: ['a store without ranges returns artifacts without a size'],
    create: () => new PlainStreamStore(),
    options: { capabilities: { ranges: false } },
  },
  'returns a size larger than the stream for large artifacts': {
    fails: ['a large artifact has the bytes that were stored', 'an aborted read does not affect other reads'],
    create: () =>
      new (class extends PlainStreamStore {
        protected override streamOf(bytes: Buffer, key: string): StreamArtifact {
          return { ...super.streamOf(bytes, key), size: bytes.byteLength + (isLarge(bytes) ? 1 : 0) };
        }
      })(),
  },
  'destroys all streams of an artifact if one is aborted': {
    fails: ['an aborted read does not affect other reads'],
    create: () =>
      new (class extends PlainStreamStore {
        protected override streamOf(bytes: Buffer, key: string): StreamArtifact {
          const open: StreamArtifact['open'] = (range, { signal }) => {
            const stream = readableOf(bytes.subarray(range?.start, range?.end));
            this.#streams.push(stream);
            signal.addEventListener('abort', () => {
              for (const each of this.#streams) each.destroy(new Error('destroyed with another stream'));
            });
            return stream;
          };
          return { ...super.streamOf(bytes, key), open };
        }
        readonly #streams: Readable[] = [];
      })(),
  },
  'continues a read in the new artifact after an overwrite': {
    fails: ['an overwrite does not affect a read in flight'],
    create: () => new MixingStreamStore(),
  },
  'continues a read in the new artifact, without the capability survivesDelete': {
    fails: ['an overwrite does not affect a read in flight'],
    create: () => new MixingStreamStore(),
    options: { capabilities: { survivesDelete: false } },
  },
};

/** Store whose streams read each chunk of a large artifact from its current version. */
class MixingStreamStore extends PlainStreamStore {
  protected override streamOf(bytes: Buffer, key: string): StreamArtifact {
    const { artifacts } = this;
    async function* chunks(start: number, end: number) {
      for (let position = start; position < end; position += 20_000) {
        const current = isLarge(bytes) ? (artifacts.get(key) ?? bytes) : bytes;
        yield current.subarray(position, Math.min(end, position + 20_000));
      }
    }
    const open: StreamArtifact['open'] = (range) =>
      Readable.from(chunks(range?.start ?? 0, range?.end ?? bytes.byteLength), { objectMode: false });
    return { ...super.streamOf(bytes, key), open };
  }
}
