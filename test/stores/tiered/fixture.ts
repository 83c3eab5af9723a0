import { buffer } from 'node:stream/consumers';
import type { ExecutionContext } from 'ava';
import type { Artifact } from '../../../src/contract/artifact.js';
import type { Store } from '../../../src/contract/store.js';
import { type DirectoryStore, directoryStore } from '../../../src/stores/directory/store.js';
import { contentOf } from '../../../src/stores/tiered/content.js';
import { type TieredStore, type TieredStoreOptions, tieredStore } from '../../../src/stores/tiered/store.js';
import { never, temporaryDirectory } from '../fixture.js';
import { type Listener, startUpstream, storeOf, type TestUpstream, type Wire } from '../upstream/fixture.js';

export interface Tiers {
  readonly store: TieredStore;
  readonly local: DirectoryStore;
  readonly remote: Store;
  readonly peer: TestUpstream;
}

/** A directory in front of a peer that answers as a test says. */
export async function startTiers(
  t: ExecutionContext,
  listener: Listener,
  options: Partial<TieredStoreOptions> = {},
  wire: Wire = 'h2c',
): Promise<Tiers> {
  const peer = await startUpstream(t, wire, listener);
  const remote = storeOf(t, peer);
  const local = await directoryStore(await temporaryDirectory(t));
  const store = await tiered(t, { local, remote, ...options });
  return { store, local, remote, peer };
}

/** A tiered store that is closed with the test. */
export async function tiered(t: ExecutionContext, options: TieredStoreOptions): Promise<TieredStore> {
  const store = await tieredStore(options);
  t.teardown(() => store.close());
  return store;
}

/** What a store has under a key, whatever kind of artifact that is; undefined for a miss. */
export async function bytesIn(store: Store, key: string, signal = never()): Promise<Buffer | undefined> {
  const artifact = await store.get(key, { signal });
  const content = artifact && (await contentOf(artifact));
  return content && buffer(await content.open(undefined, signal));
}

/** The artifact under a key; fails where it is a miss. */
export async function artifactIn(store: Store, key: string, signal = never()): Promise<Artifact> {
  const artifact = await store.get(key, { signal });
  if (artifact === undefined) throw new Error(`${key} is a miss`);
  return artifact;
}

/** Answers with `bytes`. */
export function answering(bytes: Uint8Array): Listener {
  return (request, response) => {
    request.resume();
    response.setHeader('content-length', bytes.byteLength);
    response.end(bytes);
  };
}

/** Answers GET from a map that PUT and DELETE change. */
export function cacheOf(artifacts: Map<string, Buffer>): Listener {
  return (request, response) => {
    const key = decodeURIComponent(request.url ?? '');
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', async () => {
      // node:http2 says 'end' for what is cut off, too, and only then that it is.
      await new Promise((resolve) => setImmediate(resolve));
      if (request.aborted) return;
      const had = artifacts.get(key);
      if (request.method === 'PUT') artifacts.set(key, Buffer.concat(chunks));
      if (request.method === 'DELETE') artifacts.delete(key);
      const isMiss = had === undefined && request.method !== 'PUT';
      response.statusCode = isMiss ? 404 : 200;
      response.end(request.method === 'GET' ? had : undefined);
    });
  };
}
