import type { ExecutionContext } from 'ava';
import type { Protocol } from '../../src/protocols/protocol.js';
import { memoryStore } from '../../src/stores/memory.js';
import { open, type Site } from '../behaviour/site.js';
import type { Response } from '../helpers/client.js';
import type { Kind } from '../helpers/servers.js';

/** The protocols are tested over one of each: what differs between servers is the behaviour suite's. */
export const PROTOCOL_KINDS: readonly Kind[] = ['http', 'port-h2c'];

/** A handler of these protocols over a store in memory. */
export function serveProtocols(t: ExecutionContext, kind: Kind, ...protocols: Protocol[]): Promise<Site> {
  return open(t, kind, { store: memoryStore(), protocols });
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
