import type { ExecutionContext } from 'ava';
import type { Protocol } from '../../src/protocols/protocol.js';
import { memoryStore } from '../../src/stores/memory.js';
import { open, type Site } from '../behaviour/site.js';
import type { Response } from '../helpers/client.js';
import type { Kind } from '../helpers/servers.js';

/** One server kind for each HTTP version. The behaviour suite tests the differences between servers. */
export const PROTOCOL_KINDS: readonly Kind[] = ['http', 'port-h2c'];

/** Opens a handler with these protocols and a memory store. */
export function serveProtocols(t: ExecutionContext, kind: Kind, ...protocols: Protocol[]): Promise<Site> {
  return open(t, kind, { store: memoryStore(), protocols });
}

/** Asserts the status of each request. PUT, POST and PATCH have a body. */
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
