import { Readable } from 'node:stream';
import type { Artifact, StreamArtifact } from '../../src/contract/artifact.js';
import type { GetOptions, PutOptions, PutResult } from '../../src/contract/store.js';
import {
  type BrokenStore,
  isLarge,
  LARGE_BYTES,
  PlainStore,
  PlainStreamStore,
  readableOf,
  turn,
} from './plain-stores.js';

const WHERE_LARGE = [
  'a large artifact is read back, whole',
  'a reader that leaves disturbs no other',
  'a read in flight is not touched by an overwrite',
  'a read in flight is not touched by a deletion',
];

/** A store that has an artifact say something else about itself. */
const saying = (metadata: (artifact: Artifact) => Partial<Artifact>) => () =>
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

/** Lookups, and what they find. */
export const brokenLookups: Readonly<Record<string, BrokenStore>> = {
  'takes uploads, and says that it does not': {
    fails: ['it has the methods that its capabilities name'],
    create: () => new PlainStore(),
    options: {
      capabilities: { writable: false, deletable: true },
      seed: async (store, key, bytes) => {
        await store.put?.(key, readableOf(Buffer.from(bytes)), { signal: new AbortController().signal });
      },
    },
  },
  'answers null for a miss': {
    fails: ['a miss is undefined, or a promise of it'],
    create: () =>
      new (class extends PlainStore {
        override get(key: string, options: GetOptions) {
          return super.get(key, options) ?? (null as unknown as undefined);
        }
      })(),
  },
  'has an entity tag without quotes': {
    fails: ['what an artifact says about itself can be sent as headers, and stays the same'],
    create: saying(({ etag }) => ({ etag: etag?.slice(1, -1) })),
  },
  'has an entity tag of its own for each lookup': {
    fails: ['what an artifact says about itself can be sent as headers, and stays the same'],
    create: saying(() => ({ etag: `"${Math.random()}"` })),
  },
  'has a date that is none': {
    fails: ['what an artifact says about itself can be sent as headers, and stays the same'],
    create: saying(() => ({ lastModified: new Date(Number.NaN) })),
  },
  'has a header with a line break': {
    fails: ['what an artifact says about itself can be sent as headers, and stays the same'],
    create: saying(() => ({ headers: { 'x-tag': 'a\r\nset-cookie: b' } })),
  },
  'has the size for an entity tag': {
    fails: ['another artifact has another entity tag, if it has one'],
    create: saying((artifact) => ({ etag: artifact.kind === 'bytes' ? `"${artifact.bytes.byteLength}"` : undefined })),
  },
  'finds nothing when too many ask': {
    fails: ['many lookups at a time all find the artifact, whole'],
    create: () =>
      new (class extends PlainStore {
        #asking = 0;
        override async get(key: string, options: GetOptions) {
          if (this.#asking >= 8) return undefined;
          this.#asking++;
          await turn();
          this.#asking--;
          return super.get(key, options);
        }
      })(),
  },
  'lets one lookup end all that wait with it': {
    fails: ['a lookup whose client leaves disturbs no other'],
    create: () =>
      new (class extends PlainStore {
        readonly #running = new Map<string, Promise<Artifact | undefined>>();
        override get(key: string, options: GetOptions) {
          const running = this.#running.get(key) ?? this.#find(key, options).finally(() => this.#running.delete(key));
          this.#running.set(key, running);
          return running;
        }
        async #find(key: string, options: GetOptions) {
          await turn();
          options.signal.throwIfAborted();
          return super.get(key, options);
        }
      })(),
  },
  'alters artifacts of one size': {
    fails: ['an artifact is read back, whole'],
    create: () =>
      new (class extends PlainStore {
        protected override keep(key: string, bytes: Buffer): void {
          if (bytes.byteLength === 4096) bytes.writeUInt8(bytes.readUInt8(4095) ^ 1, 4095);
          super.keep(key, bytes);
        }
      })(),
  },
  'takes what is empty for a miss': {
    fails: [
      'an empty artifact is one, and no miss',
      'an upload of unknown length is read back, whole',
      'an upload replaces what was there, whether it is longer or shorter',
    ],
    create: () =>
      new (class extends PlainStore {
        override get(key: string, options: GetOptions) {
          return this.artifacts.get(key)?.byteLength === 0 ? undefined : super.get(key, options);
        }
      })(),
  },
  'cuts large artifacts off': {
    fails: WHERE_LARGE,
    create: () =>
      new (class extends PlainStore {
        protected override keep(key: string, bytes: Buffer): void {
          super.keep(key, bytes.subarray(0, LARGE_BYTES - 1));
        }
      })(),
  },
  'has large artifacts only later': {
    fails: [
      ...WHERE_LARGE,
      'a file that is promised to be immutable is never truncated, nor written to where it has been read',
    ],
    create: () =>
      new (class extends PlainStore {
        protected override keep(key: string, bytes: Buffer): void {
          if (isLarge(bytes)) setImmediate(() => setImmediate(() => super.keep(key, bytes)));
          else super.keep(key, bytes);
        }
      })(),
  },
};

/** Streams. */
export const brokenStreams: Readonly<Record<string, BrokenStore>> = {
  'ignores ranges': {
    fails: ['a range of an artifact is those bytes, and no others'],
    create: () =>
      new (class extends PlainStreamStore {
        protected override streamOf(bytes: Buffer, key: string): StreamArtifact {
          return { ...super.streamOf(bytes, key), open: () => readableOf(bytes) };
        }
      })(),
  },
  'takes the end of a range for its last byte': {
    fails: ['a range of an artifact is those bytes, and no others'],
    create: () =>
      new (class extends PlainStreamStore {
        protected override streamOf(bytes: Buffer, key: string): StreamArtifact {
          const open: StreamArtifact['open'] = (range) =>
            readableOf(bytes.subarray(range?.start, range && range.end + 1));
          return { ...super.streamOf(bytes, key), open };
        }
      })(),
  },
  'does not say how long its streams are': {
    fails: ['a range of an artifact is those bytes, and no others'],
    create: () =>
      new (class extends PlainStreamStore {
        protected override streamOf(bytes: Buffer, key: string): StreamArtifact {
          return { ...super.streamOf(bytes, key), size: undefined };
        }
      })(),
  },
  'says how long its streams are, and that it has no ranges': {
    fails: ['an artifact does not say its size, because then it would be asked for ranges'],
    create: () => new PlainStreamStore(),
    options: { capabilities: { ranges: false } },
  },
  'says that a large stream is longer than it is': {
    fails: ['a large artifact is read back, whole', 'a reader that leaves disturbs no other'],
    create: () =>
      new (class extends PlainStreamStore {
        protected override streamOf(bytes: Buffer, key: string): StreamArtifact {
          return { ...super.streamOf(bytes, key), size: bytes.byteLength + (isLarge(bytes) ? 1 : 0) };
        }
      })(),
  },
  'ends all streams of an artifact with the first': {
    fails: ['a reader that leaves disturbs no other'],
    create: () =>
      new (class extends PlainStreamStore {
        protected override streamOf(bytes: Buffer, key: string): StreamArtifact {
          const open: StreamArtifact['open'] = (range, { signal }) => {
            const stream = readableOf(bytes.subarray(range?.start, range?.end));
            this.#streams.push(stream);
            signal.addEventListener('abort', () => {
              for (const each of this.#streams) each.destroy(new Error('ended with another'));
            });
            return stream;
          };
          return { ...super.streamOf(bytes, key), open };
        }
        readonly #streams: Readable[] = [];
      })(),
  },
  'reads on in what has replaced an artifact': {
    fails: ['a read in flight is not touched by an overwrite'],
    create: () => new StoreThatReadsOn(),
  },
  'reads on in what has replaced an artifact, and says that reads may fail': {
    fails: ['a read in flight is not touched by an overwrite'],
    create: () => new StoreThatReadsOn(),
    options: { capabilities: { survivesDelete: false } },
  },
};

/** A store whose streams of large artifacts look for each chunk what is there now. */
class StoreThatReadsOn extends PlainStreamStore {
  protected override streamOf(bytes: Buffer, key: string): StreamArtifact {
    const { artifacts } = this;
    async function* chunks(start: number, end: number) {
      for (let position = start; position < end; position += 20_000) {
        const now = isLarge(bytes) ? (artifacts.get(key) ?? bytes) : bytes;
        yield now.subarray(position, Math.min(end, position + 20_000));
      }
    }
    const open: StreamArtifact['open'] = (range) =>
      Readable.from(chunks(range?.start ?? 0, range?.end ?? bytes.byteLength), { objectMode: false });
    return { ...super.streamOf(bytes, key), open };
  }
}
