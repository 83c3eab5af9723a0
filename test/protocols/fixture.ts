import type { ExecutionContext } from 'ava';
import type { UploadMetadata } from '../../src/artifact.js';
import type { Protocol } from '../../src/protocols/protocol.js';
import type { Store } from '../../src/store.js';
import { memoryStore } from '../../src/stores/memory.js';
import { open, type Site } from '../behaviour/site.js';
import type { Response } from '../helpers/client.js';
import type { Kind } from '../helpers/servers.js';

/** The protocols are tested over one of each: what differs between servers is the behaviour suite's. */
export const PROTOCOL_KINDS: readonly Kind[] = ['http', 'port-h2c'];

/** A handler of these protocols over a store in memory. */
export function serveProtocols(t: ExecutionContext, kind: Kind, ...protocols: Protocol[]): Promise<Site> {
  return open(t, kind, { store: storeWithMetadata(), protocols });
}

function storeWithMetadata(): Store {
  const store = memoryStore();
  const metadata = new Map<string, UploadMetadata | undefined>();
  return {
    get: (key) => {
      const artifact = store.get(key);
      return artifact && { ...artifact, ...metadata.get(key) };
    },
    async put(key, body, options) {
      const result = await store.put(key, body, options);
      metadata.set(key, options.metadata);
      return result;
    },
    delete: (key) => store.delete(key),
  };
}

/** Asserts the status of each request, without a body where it is none of PUT, POST and PATCH. */
export async function assertStatuses(
  t: ExecutionContext,
  ask: Site['ask'],
  cases: readonly (readonly [method: string, path: string, status: number])[],
): Promise<Response[]> {
  const responses: Response[] = [];
  for (const [method, path, status] of cases) {
    const body = /^P/.test(method) ? Buffer.from('body') : undefined;
    const response = await ask(method, path, { body });
    t.is(response.status, status, `${method} ${path}`);
    responses.push(response);
  }
  return responses;
}
