import type { Readable } from 'node:stream';
import type { Artifact, UploadMetadata } from '../../src/contract/artifact.js';
import type { PutOptions, PutResult } from '../../src/contract/store.js';
import { type BrokenStore, isLarge, PlainStore } from './plain-stores.js';

const CAPABILITIES = { capabilities: { metadata: true } };

const COMES_BACK = 'what an upload says about itself comes back with its artifact';
const OF_ANOTHER = 'an artifact about which nothing was said has no metadata of another one';
const REPLACED = 'an overwrite replaces what was said about the artifact';
const CLEARED = 'an overwrite that says nothing clears what was said about the artifact';
const DELETED = 'what was said about an artifact goes with its deletion';
const AFTER_FAILURE = 'an upload that fails leaves what was said about the artifact that was there';
const AT_A_TIME = 'of uploads to one key at a time the one that is there has its own metadata';
const EVERY = [COMES_BACK, OF_ANOTHER, REPLACED, CLEARED, DELETED, AFTER_FAILURE, AT_A_TIME];

/** A store that keeps metadata, in methods small enough for a subclass to break a single one. */
export class DescribedStore extends PlainStore {
  protected readonly said = new Map<string, UploadMetadata>();

  override async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
    const result = await super.put(key, body, options);
    this.describe(key, options.metadata, result);
    return result;
  }

  override async delete(key: string): Promise<boolean> {
    this.said.delete(key);
    return super.delete(key);
  }

  protected describe(key: string, metadata: UploadMetadata | undefined, _result: PutResult): void {
    if (metadata === undefined) this.said.delete(key);
    else this.said.set(key, metadata);
  }

  protected override artifactOf(bytes: Buffer, key: string): Artifact {
    return { ...super.artifactOf(bytes, key), ...this.shown(this.said.get(key), bytes) };
  }

  protected shown(metadata: UploadMetadata | undefined, _bytes: Buffer): UploadMetadata | undefined {
    return metadata;
  }
}

/** A store that shows something else than what was said. */
const showing = (shown: (metadata: UploadMetadata, bytes: Buffer) => UploadMetadata) => () =>
  new (class extends DescribedStore {
    protected override shown(metadata: UploadMetadata | undefined, bytes: Buffer): UploadMetadata | undefined {
      return metadata && shown(metadata, bytes);
    }
  })();

/** What uploads say about themselves. */
export const brokenMetadata: Readonly<Record<string, BrokenStore>> = {
  'keeps nothing of what uploads say': {
    fails: EVERY,
    create: () => new PlainStore(),
    options: CAPABILITIES,
  },
  'loses what large uploads say': {
    fails: [COMES_BACK, REPLACED, CLEARED],
    create: showing((metadata, bytes) => (isLarge(bytes) ? {} : metadata)),
    options: CAPABILITIES,
  },
  'forgets what empty uploads say': {
    fails: [COMES_BACK],
    create: showing((metadata, { byteLength }) => (byteLength === 0 ? {} : metadata)),
    options: CAPABILITIES,
  },
  'forgets Cache-Control where nothing else is said': {
    fails: [COMES_BACK],
    create: showing(({ cacheControl, ...rest }) => (rest.contentType === undefined ? rest : { ...rest, cacheControl })),
    options: CAPABILITIES,
  },
  'decodes what nobody has encoded': {
    fails: [COMES_BACK],
    create: showing(({ headers = {}, ...rest }) => ({
      ...rest,
      headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, value.replaceAll('%41', 'A')])),
    })),
    options: CAPABILITIES,
  },
  'gives every artifact the metadata of the one that was described last': {
    fails: [COMES_BACK, OF_ANOTHER, CLEARED, DELETED],
    create: () =>
      new (class extends DescribedStore {
        #last: UploadMetadata | undefined;
        protected override describe(_key: string, metadata: UploadMetadata | undefined): void {
          this.#last = metadata ?? this.#last;
        }
        protected override shown(): UploadMetadata | undefined {
          return this.#last;
        }
      })(),
    options: CAPABILITIES,
  },
  'keeps the metadata of the first upload': {
    fails: [REPLACED, AT_A_TIME],
    create: () =>
      new (class extends DescribedStore {
        protected override describe(key: string, metadata: UploadMetadata | undefined, result: PutResult): void {
          if (metadata === undefined || result.created || !this.said.has(key)) super.describe(key, metadata, result);
        }
      })(),
    options: CAPABILITIES,
  },
  'adds headers to those of the upload before': {
    fails: [REPLACED],
    create: () =>
      new (class extends DescribedStore {
        protected override describe(key: string, metadata: UploadMetadata | undefined, result: PutResult): void {
          const headers = { ...this.said.get(key)?.headers, ...metadata?.headers };
          super.describe(key, metadata && { ...metadata, headers }, result);
        }
      })(),
    options: CAPABILITIES,
  },
  'keeps the metadata that an overwrite does not repeat': {
    fails: [CLEARED],
    create: () =>
      new (class extends DescribedStore {
        protected override describe(key: string, metadata: UploadMetadata | undefined, result: PutResult): void {
          // Not of uploads at a time, which have another check.
          if (metadata !== undefined || !this.said.get(key)?.contentType) super.describe(key, metadata, result);
        }
      })(),
    options: CAPABILITIES,
  },
  'keeps the metadata of what was deleted': {
    fails: [DELETED],
    create: () =>
      new (class extends DescribedStore {
        readonly #deleted = new Map<string, UploadMetadata>();
        override async delete(key: string): Promise<boolean> {
          const metadata = this.said.get(key);
          if (metadata !== undefined) this.#deleted.set(key, metadata);
          return super.delete(key);
        }
        protected override describe(key: string, metadata: UploadMetadata | undefined, result: PutResult): void {
          super.describe(key, metadata ?? this.#deleted.get(key), result);
        }
      })(),
    options: CAPABILITIES,
  },
  'takes the metadata of an upload before its body': {
    fails: [AFTER_FAILURE],
    create: () =>
      new (class extends DescribedStore {
        override async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
          if (options.metadata?.contentType !== undefined) this.said.set(key, options.metadata);
          return super.put(key, body, options);
        }
      })(),
    options: CAPABILITIES,
  },
  'mixes up the metadata of uploads at a time': {
    fails: [AT_A_TIME],
    create: () =>
      new (class extends DescribedStore {
        readonly #open = new Map<string, number>();
        override async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
          const open = this.#open.get(key) ?? 0;
          this.#open.set(key, open + 1);
          // All but the first forget whose they are.
          const metadata = open === 0 ? options.metadata : { headers: { 'x-artifact-sha': 'of another one' } };
          const result = await super.put(key, body, { ...options, metadata });
          this.#open.set(key, (this.#open.get(key) ?? 1) - 1);
          return result;
        }
      })(),
    options: CAPABILITIES,
  },
};
