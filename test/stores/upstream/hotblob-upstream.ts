import type { AddressInfo } from 'node:net';
import type { Store } from '../../../src/contract/store.js';
import { createHandler } from '../../../src/handler/handler.js';
import { fixedMemoryPressure } from '../../../src/memory/pressure.js';
import { plain } from '../../../src/protocols/plain.js';
import type { Protocol } from '../../../src/protocols/protocol.js';
import { uploadMetadata } from '../../../src/protocols/request-metadata.js';
import { createServer } from '../../../src/server/server.js';
import { memoryStore } from '../../../src/stores/memory.js';
import { type UpstreamStore, upstreamStore } from '../../../src/stores/upstream/store.js';
import { certificate } from '../../helpers/certificate.js';

/** Transports between an upstream store and a hotblob server. */
export const TRANSPORTS = ['HTTP/1.1', 'h2c', 'HTTP/2 over TLS'] as const;
export type Transport = (typeof TRANSPORTS)[number];

const closers = new WeakMap<Store, () => Promise<void>>();

/** Starts a hotblob server with an empty memory store, and returns an upstream store for it. */
export async function openHotblobUpstream(transport: Transport): Promise<UpstreamStore> {
  const memory = fixedMemoryPressure('normal');
  const tls = transport === 'HTTP/2 over TLS' ? await certificate() : undefined;
  const handler = createHandler({
    store: memoryStore({ maxBytes: 2 ** 28 }),
    memory,
    protocols: [plainWithMetadata()],
  });
  const server = createServer(handler, { tls, memory });
  await server.listen({ port: 0, host: '127.0.0.1' });
  // A server that listens on a port has an AddressInfo.
  const { port } = server.address() as AddressInfo;
  const url = `${tls ? 'https' : 'http'}://127.0.0.1:${port}/`;
  const store = upstreamStore(url, { ca: tls?.cert, ...(transport === 'h2c' && { h2c: true }) });
  closers.set(store, async () => {
    await store.close();
    await server.close({ timeoutMs: 0 });
    handler.close();
  });
  return store;
}

/** `plain()` that also stores the metadata of the conformance suite. */
function plainWithMetadata(): Protocol {
  const protocol = plain();
  return {
    ...protocol,
    route(request) {
      const operation = protocol.route(request);
      if (operation?.kind !== 'upload') return operation;
      const { headers } = request;
      const names = Object.keys(headers).filter((name) => name.startsWith('x-artifact-'));
      const metadata = { ...uploadMetadata(headers, names), cacheControl: headers['cache-control'] };
      return { ...operation, metadata };
    },
  };
}

/** Closes the store and its server. */
export async function closeHotblobUpstream(store: Store): Promise<void> {
  await closers.get(store)?.();
}
