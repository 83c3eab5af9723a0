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

/** What leads to this package's own server. */
export const WAYS = ['HTTP/1.1', 'h2c', 'HTTP/2 over TLS'] as const;
export type Way = (typeof WAYS)[number];

const closers = new WeakMap<Store, () => Promise<void>>();

/** A store that is a server of this package, with nothing in it. */
export async function ownServer(way: Way): Promise<UpstreamStore> {
  const memory = fixedMemoryPressure('normal');
  const tls = way === 'HTTP/2 over TLS' ? await certificate() : undefined;
  const handler = createHandler({ store: memoryStore({ maxBytes: 2 ** 28 }), memory, protocols: [describing()] });
  const server = createServer(handler, { tls, memory });
  await server.listen({ port: 0, host: '127.0.0.1' });
  // a server that listens on a port has an address of this kind
  const { port } = server.address() as AddressInfo;
  const url = `${tls ? 'https' : 'http'}://127.0.0.1:${port}/`;
  const store = upstreamStore(url, { ca: tls?.cert, ...(way === 'h2c' && { h2c: true }) });
  closers.set(store, async () => {
    await store.close();
    await server.close({ timeoutMs: 0 });
    handler.close();
  });
  return store;
}

/** The path is the key, and all that the suite says of an upload is kept. */
function describing(): Protocol {
  const paths = plain();
  return {
    ...paths,
    route(request) {
      const operation = paths.route(request);
      if (operation?.kind !== 'upload') return operation;
      const { headers } = request;
      const names = Object.keys(headers).filter((name) => name.startsWith('x-artifact-'));
      const metadata = { ...uploadMetadata(headers, names), cacheControl: headers['cache-control'] };
      return { ...operation, metadata };
    },
  };
}

/** Ends the server behind a store. */
export async function endServer(store: Store): Promise<void> {
  await closers.get(store)?.();
}
