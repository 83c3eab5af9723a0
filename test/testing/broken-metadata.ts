import type { Readable } from 'node:stream';
import type { Artifact, UploadMetadata } from '../../src/contract/artifact.js';
import type { PutOptions, PutResult } from '../../src/contract/store.js';
import { type BrokenStore, isLarge, PlainStore } from './plain-stores.js';

const CAPABILITIES = { capabilities: { metadata: true } };

const RETURNED = 'get() returns the metadata of the upload';
const NOT_MIXED = 'an artifact without metadata does not get that of another upload';
const REPLACED = 'an overwrite replaces the metadata';
const CLEARED = 'an overwrite without metadata clears it';
const DELETED = 'a deletion removes the metadata';
const AFTER_FAILURE = 'an upload that fails keeps the previous metadata';
const CONCURRENT = 'after concurrent uploads to one key, artifact and metadata are of the same upload';
const ALL = [RETURNED, NOT_MIXED, REPLACED, CLEARED, DELETED, AFTER_FAILURE, CONCURRENT];

/** Correct store with metadata. Its methods are small, so that a subclass can break a single one. */
export class MetadataStore extends PlainStore {
  protected readonly metadata = new Map<string, UploadMetadata>();

  override async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
    const result = await super.put(key, body, options);
    this.describe(key, options.metadata, result);
    return result;
  }

  override async delete(key: string): Promise<boolean> {
    this.metadata.delete(key);
    return super.delete(key);
  }

  protected describe(key: string, metadata: UploadMetadata | undefined, _result: PutResult): void {
    if (metadata === undefined) this.metadata.delete(key);
    else this.metadata.set(key, metadata);
  }

  protected override artifactOf(bytes: Buffer, key: string): Artifact {
    return { ...super.artifactOf(bytes, key), ...this.returned(this.metadata.get(key), bytes) };
  }

  protected returned(metadata: UploadMetadata | undefined, _bytes: Buffer): UploadMetadata | undefined {
    return metadata;
  }
}

/** Creates a store that returns changed metadata. */
const returning = (change: (metadata: UploadMetadata, bytes: Buffer) => UploadMetadata) => () =>
  new (class extends MetadataStore {
    protected override returned(metadata: UploadMetadata | undefined, bytes: Buffer): UploadMetadata | undefined {
      return metadata && change(metadata, bytes);
    }
  })();

/** Stores that break metadata. */
export const brokenMetadata: Readonly<Record<string, BrokenStore>> = {
  'keeps no metadata': {
    fails: ALL,
    create: () => new PlainStore(),
    options: CAPABILITIES,
  },
  'loses the metadata of large artifacts': {
    fails: [RETURNED, REPLACED, CLEARED],
    create: returning((metadata, bytes) => (isLarge(bytes) ? {} : metadata)),
    options: CAPABILITIES,
  },
  'loses the metadata of empty artifacts': {
    fails: [RETURNED],
    create: returning((metadata, { byteLength }) => (byteLength === 0 ? {} : metadata)),
    options: CAPABILITIES,
  },
  'loses Cache-Control without Content-Type': {
    fails: [RETURNED],
    create: returning(({ cacheControl, ...rest }) =>
      rest.contentType === undefined ? rest : { ...rest, cacheControl },
    ),
    options: CAPABILITIES,
  },
  'decodes percent signs in header values': {
    fails: [RETURNED],
    create: returning(({ headers = {}, ...rest }) => ({
      ...rest,
      headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, value.replaceAll('%41', 'A')])),
    })),
    options: CAPABILITIES,
  },
  'returns the latest metadata for every artifact': {
    fails: [RETURNED, NOT_MIXED, CLEARED, DELETED],
    create: () =>
      new (class extends MetadataStore {
        #last: UploadMetadata | undefined;
        protected override describe(_key: string, metadata: UploadMetadata | undefined): void {
          this.#last = metadata ?? this.#last;
        }
        protected override returned(): UploadMetadata | undefined {
          return this.#last;
        }
      })(),
    options: CAPABILITIES,
  },
  'keeps the metadata of the first upload': {
    fails: [REPLACED, CONCURRENT],
    create: () =>
      new (class extends MetadataStore {
        protected override describe(key: string, metadata: UploadMetadata | undefined, result: PutResult): void {
          if (metadata === undefined || result.created || !this.metadata.has(key))
            super.describe(key, metadata, result);
        }
      })(),
    options: CAPABILITIES,
  },
  'merges headers with those of the previous upload': {
    fails: [REPLACED],
    create: () =>
      new (class extends MetadataStore {
        protected override describe(key: string, metadata: UploadMetadata | undefined, result: PutResult): void {
          const headers = { ...this.metadata.get(key)?.headers, ...metadata?.headers };
          super.describe(key, metadata && { ...metadata, headers }, result);
        }
      })(),
    options: CAPABILITIES,
  },
  'keeps the metadata after an overwrite without metadata': {
    fails: [CLEARED],
    create: () =>
      new (class extends MetadataStore {
        protected override describe(key: string, metadata: UploadMetadata | undefined, result: PutResult): void {
          // Only with a content type, which the check of concurrent uploads does not use.
          if (metadata !== undefined || !this.metadata.get(key)?.contentType) super.describe(key, metadata, result);
        }
      })(),
    options: CAPABILITIES,
  },
  'restores the metadata of a deleted artifact': {
    fails: [DELETED],
    create: () =>
      new (class extends MetadataStore {
        readonly #deleted = new Map<string, UploadMetadata>();
        override async delete(key: string): Promise<boolean> {
          const metadata = this.metadata.get(key);
          if (metadata !== undefined) this.#deleted.set(key, metadata);
          return super.delete(key);
        }
        protected override describe(key: string, metadata: UploadMetadata | undefined, result: PutResult): void {
          super.describe(key, metadata ?? this.#deleted.get(key), result);
        }
      })(),
    options: CAPABILITIES,
  },
  'stores the metadata of an upload before its body': {
    fails: [AFTER_FAILURE],
    create: () =>
      new (class extends MetadataStore {
        override async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
          if (options.metadata?.contentType !== undefined) this.metadata.set(key, options.metadata);
          return super.put(key, body, options);
        }
      })(),
    options: CAPABILITIES,
  },
  'mixes the metadata of concurrent uploads': {
    fails: [CONCURRENT],
    create: () =>
      new (class extends MetadataStore {
        readonly #open = new Map<string, number>();
        override async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
          const open = this.#open.get(key) ?? 0;
          this.#open.set(key, open + 1);
          // All uploads but the first get wrong metadata.
          const metadata = open === 0 ? options.metadata : { headers: { 'x-artifact-sha': 'wrong' } };
          const result = await super.put(key, body, { ...options, metadata });
          this.#open.set(key, (this.#open.get(key) ?? 1) - 1);
          return result;
        }
      })(),
    options: CAPABILITIES,
  },
};
