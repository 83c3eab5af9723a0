import type { ExecutionContext } from 'ava';
import type { ReadWriteStore } from '../../src/contract/store.js';
import type { HandlerOptions } from '../../src/handler/options.js';
import { type TuistOptions, tuist } from '../../src/protocols/tuist/tuist.js';
import { memoryStore } from '../../src/stores/memory.js';
import { open, type Site } from '../behaviour/site.js';
import type { Kind } from '../helpers/servers.js';

export const KINDS = ['http', 'port-h2c'] as const;
export const SCOPE = 'tenant_id=acme&namespace_id=ios';

/** A store in memory whose methods can be replaced one by one. */
export function largeStore(): ReadWriteStore {
  // More than any route takes, so that it is not the store that refuses.
  const store = memoryStore({ maxBytes: 2 ** 40 });
  return {
    get: (key) => store.get(key),
    put: (key, body, options) => store.put(key, body, options),
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
  return open(t, kind, { store: largeStore(), ...rest, protocols: [tuist(options)] });
}
