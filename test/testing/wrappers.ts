import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import type { Artifact, BytesArtifact, FileArtifact, StreamArtifact } from '../../src/contract/artifact.js';
import { errnoCode } from '../../src/contract/errors.js';
import type { ReadWriteStore, Store } from '../../src/contract/store.js';

/** Wraps a store and replaces some of its methods. */
export function withMethods<S extends ReadWriteStore>(store: S, methods: Partial<Store>): ReadWriteStore {
  return {
    get: (key, options) => store.get(key, options),
    put: (key, body, options) => store.put(key, body, options),
    delete: (key) => store.delete(key),
    close: () => store.close(),
    ...methods,
  };
}

/** Wraps a store so that lookups are asynchronous. */
export function withAsyncLookups(store: ReadWriteStore): ReadWriteStore {
  return withMethods(store, {
    get: async (key, options) => {
      await new Promise((resolve) => setImmediate(resolve));
      return store.get(key, options);
    },
  });
}

/** Wraps a store so that artifacts are streams: with a size and ranges, or without. */
export function asStreams(store: ReadWriteStore, { sized }: { readonly sized: boolean }): ReadWriteStore {
  return withMethods(store, {
    get: async (key, options) => {
      const artifact = await store.get(key, options);
      return artifact && streamOf(artifact, sized);
    },
  });
}

async function streamOf(artifact: Artifact, sized: boolean): Promise<StreamArtifact | undefined> {
  if (artifact.kind === 'stream') return artifact;
  const size = artifact.kind === 'bytes' ? artifact.bytes.byteLength : await fileSize(artifact);
  if (size === undefined) return undefined;
  const { etag, lastModified } = artifact;
  return {
    kind: 'stream',
    etag,
    lastModified,
    size: sized ? size : undefined,
    open: (range) => (artifact.kind === 'bytes' ? bytesStream(artifact, range) : fileStream(artifact, range)),
  };
}

function bytesStream({ bytes }: BytesArtifact, range = { start: 0, end: bytes.byteLength }): Readable {
  const part = bytes.subarray(range.start, range.end);
  return Readable.from(part.byteLength === 0 ? [] : [Buffer.from(part)], { objectMode: false });
}

function fileStream({ path }: FileArtifact, range?: { start: number; end: number }): Readable {
  return createReadStream(path, range && { start: range.start, end: range.end - 1 });
}

async function fileSize({ path }: FileArtifact): Promise<number | undefined> {
  try {
    const stats = await stat(path);
    return stats.isFile() ? stats.size : undefined;
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ENAMETOOLONG'].includes(errnoCode(error) ?? '')) return undefined;
    throw error;
  }
}
