import type { ExecutionContext } from 'ava';
import type { ReadWriteStore } from '../../src/contract/store.js';
import type { HandlerOptions } from '../../src/handler/options.js';
import { type TuistOptions, tuist } from '../../src/protocols/tuist/tuist.js';
import { memoryStore } from '../../src/stores/memory.js';
import { open, type Site } from '../behaviour/site.js';
import type { Kind } from '../helpers/servers.js';

export const KINDS = ['http', 'port-h2c'] as const;
export const PROJECT = 'tenant_id=acme&namespace_id=ios';

/** Returns a memory store whose methods can be replaced. */
export function largeStore(): ReadWriteStore {
  // Larger than the limit of any route, so that the store does not reject uploads.
  const store = memoryStore({ maxBytes: 2 ** 40 });
  return {
    get: (key) => store.get(key),
    put: (key, body, options) => store.put(key, body, options),
    delete: (key) => store.delete(key),
    close: () => store.close(),
  };
}

/** Opens a handler with this protocol only. */
export function openTuist(
  t: ExecutionContext,
  kind: Kind,
  options: TuistOptions = {},
  rest: Partial<HandlerOptions> = {},
): Promise<Site> {
  return open(t, kind, { store: largeStore(), ...rest, protocols: [tuist(options)] });
}
