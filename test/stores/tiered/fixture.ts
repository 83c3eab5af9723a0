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

/** Creates a tiered store with a local directory and a remote peer whose responses come from `listener`. */
export async function startTiers(
  t: ExecutionContext,
  listener: Listener,
  options: Partial<TieredStoreOptions> = {},
  wire: Wire = 'h2c',
): Promise<Tiers> {
  const peer = await startUpstream(t, wire, listener);
  const remote = storeOf(t, peer);
  const local = await directoryStore(await temporaryDirectory(t));
  const store = await createTiered(t, { local, remote, ...options });
  return { store, local, remote, peer };
}

/** Creates a tiered store that is closed at the end of the test. */
export async function createTiered(t: ExecutionContext, options: TieredStoreOptions): Promise<TieredStore> {
  const store = await tieredStore(options);
  t.teardown(() => store.close());
  return store;
}

/** Reads an artifact of any kind. Returns undefined for a miss. */
export async function readBytes(store: Store, key: string, signal = never()): Promise<Buffer | undefined> {
  const artifact = await store.get(key, { signal });
  const content = artifact && (await contentOf(artifact));
  return content && buffer(await content.open(undefined, signal));
}

/** Returns the artifact under a key. Throws for a miss. */
export async function getArtifact(store: Store, key: string, signal = never()): Promise<Artifact> {
  const artifact = await store.get(key, { signal });
  if (artifact === undefined) throw new Error(`${key} is a miss`);
  return artifact;
}

/** Creates a listener that responds with `bytes`. */
export function respondWith(bytes: Uint8Array): Listener {
  return (request, response) => {
    request.resume();
    response.setHeader('content-length', bytes.byteLength);
    response.end(bytes);
  };
}

/** Creates a listener that serves `artifacts` and updates it on PUT and DELETE. */
export function serveMap(artifacts: Map<string, Buffer>): Listener {
  return (request, response) => {
    const key = decodeURIComponent(request.url ?? '');
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', async () => {
      // For a reset stream, node:http2 emits 'end' before it sets `aborted`.
      await new Promise((resolve) => setImmediate(resolve));
      if (request.aborted) return;
      const previous = artifacts.get(key);
      if (request.method === 'PUT') artifacts.set(key, Buffer.concat(chunks));
      if (request.method === 'DELETE') artifacts.delete(key);
      const isMiss = previous === undefined && request.method !== 'PUT';
      response.statusCode = isMiss ? 404 : 200;
      response.end(request.method === 'GET' ? previous : undefined);
    });
  };
}
