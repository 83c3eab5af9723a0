import type { AddressInfo } from 'node:net';
import type { AccessLevel } from '../../access/policy.js';
import { tokenFile } from '../../access/token-file.js';
import type { Exchange } from '../../contract/exchange.js';
import type { Store } from '../../contract/store.js';
import { createDashboard, type Dashboard } from '../../dashboard/dashboard.js';
import { createHandler, type ExchangeHandler, type Handler } from '../../handler/handler.js';
import { systemMemoryPressure } from '../../memory/pressure.js';
import { createServer } from '../../server/server.js';
import { openStore, type ServedStore, type ServedStoreOptions } from './open-store.js';
import { type ProtocolName, protocolsOf } from './protocol-names.js';
import { OPERATOR_PATH, operatorPages } from './status-pages.js';

/** What the command line asks for. */
export interface ServeOptions extends ServedStoreOptions {
  /** Of this package. */
  readonly version: string;
  /** 0: any that is free. */
  readonly port: number;
  readonly host: string;
  readonly writable: boolean;
  readonly protocols: readonly ProtocolName[];
  /** Who may read and write; without it everybody may. */
  readonly access: { readonly file: string; readonly anonymous: AccessLevel | undefined } | undefined;
  readonly tls: { readonly cert: Buffer; readonly key: Buffer } | undefined;
}

/** A running server. */
export interface RunningServer {
  /** One line: where it listens, and what is at work. */
  readonly description: string;
  readonly port: number;
  /** Lets what is in flight complete for up to 30 s, then cuts it off. */
  close(): Promise<void>;
}

/** Serves a store over HTTP/1.1 and HTTP/2. Resolves when it listens. */
export async function serve(options: ServeOptions): Promise<RunningServer> {
  const { tls } = options;
  const access = options.access && (await tokenFile(options.access.file, { anonymous: options.access.anonymous }));
  const served = await openStore(options);
  const { store } = served;
  const memory = systemMemoryPressure();
  const handler = createHandler({
    store: options.writable ? store : readOnly(store),
    protocols: protocolsOf(options.protocols, options.dir),
    access,
    memory,
  });
  let isDraining = false;
  let pages: ExchangeHandler | undefined;
  let dashboard: Dashboard | undefined;
  const operate = async (exchange: Exchange): Promise<boolean> =>
    (await pages?.handle(exchange)) || (await dashboard?.handle(exchange)) || handler.handle(exchange);
  const front: ExchangeHandler = {
    handle: (exchange) => (exchange.url.startsWith(OPERATOR_PATH) ? operate(exchange) : handler.handle(exchange)),
  };
  const server = createServer(front, { memory, tls });
  const { version } = options;
  pages = operatorPages({ version, handler, server, store, access, isDraining: () => isDraining });
  dashboard = createDashboard({ handler, server, store, access, path: OPERATOR_PATH });
  await server.listen({ port: options.port, host: options.host });
  // a server that listens on a port has an address of this kind
  const { port } = server.address() as AddressInfo;
  const host = options.host.includes(':') ? `[${options.host}]` : options.host;
  return {
    port,
    description: `hotblob listening on ${tls ? 'https' : 'http'}://${host}:${port} (${whatIsAtWork(handler, memory.sensor, served, options)})`,
    async close() {
      isDraining = true;
      dashboard.close();
      await server.close();
      handler.close();
      await store.close();
    },
  };
}

function readOnly(store: Store): Store {
  return { get: (key, options) => store.get(key, options) };
}

function whatIsAtWork(
  handler: Handler,
  sensor: string,
  { kind, immutable }: ServedStore,
  { upstream, protocols }: ServeOptions,
): string {
  const { mapper, copiesResident } = handler.stats();
  return [
    `store: ${kind}`,
    ...(upstream === undefined ? [] : [`upstream: ${new URL(upstream.url).origin}`]),
    `protocols: ${protocols.join(', ')}`,
    `mapping: ${mapper === undefined ? 'none' : immutable ? mapper : `${mapper}, but not of this directory: it is not known to be immutable`}`,
    `page-cache copy: ${copiesResident ? 'preadv2 through koffi' : 'none, reads instead'}`,
    `memory pressure: ${sensor}`,
  ].join('; ');
}
