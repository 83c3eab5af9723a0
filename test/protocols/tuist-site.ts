import type { ExecutionContext } from 'ava';
import type { UploadMetadata } from '../../src/artifact.js';
import type { HandlerOptions } from '../../src/options.js';
import { type TuistOptions, tuist } from '../../src/protocols/tuist/tuist.js';
import type { Store } from '../../src/store.js';
import { memoryStore } from '../../src/stores/memory.js';
import { open, type Site } from '../behaviour/site.js';
import type { Kind } from '../helpers/servers.js';

export const KINDS = ['http', 'port-h2c'] as const;
export const SCOPE = 'tenant_id=acme&namespace_id=ios';

/** A store in memory that keeps what uploads say about their artifacts. */
export function keepingStore(): Required<Store> {
  // More than any route takes, so that it is not the store that refuses.
  const store = memoryStore({ maxBytes: 2 ** 40 });
  const metadata = new Map<string, UploadMetadata | undefined>();
  return {
    get: (key) => {
      const artifact = store.get(key);
      return artifact && { ...artifact, ...metadata.get(key) };
    },
    put: async (key, body, options) => {
      const result = await store.put(key, body, options);
      metadata.set(key, options.metadata);
      return result;
    },
    delete: (key) => store.delete(key),
    close: () => store.close(),
  };
}

/** A handler of this one protocol. */
export function openTuist(
  t: ExecutionContext,
  kind: Kind,
  options: TuistOptions = {},
  rest: Partial<HandlerOptions> = {},
): Promise<Site> {
  return open(t, kind, { store: keepingStore(), ...rest, protocols: [tuist(options)] });
}
