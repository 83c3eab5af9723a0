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
import { createProtocols, type ProtocolName } from './protocol-names.js';
import { createStatusPages, OPERATOR_PATH } from './status-pages.js';

/** Options of {@link serve}. */
export interface ServeOptions extends ServedStoreOptions {
  /** Version of this package. */
  readonly version: string;
  /** Port to listen on; 0 selects a free port. */
  readonly port: number;
  readonly host: string;
  /** Default: as for `createServer`. */
  readonly maxConnections?: number | undefined;
  readonly writable: boolean;
  readonly protocols: readonly ProtocolName[];
  /** Token file, and the access level of a request without a valid token. `undefined`: no authentication. */
  readonly access: { readonly file: string; readonly anonymous: AccessLevel | undefined } | undefined;
  /** Host names that requests may be for, in addition to those of the loopback interface. Default: see `HandlerOptions`. */
  readonly allowedHosts?: readonly string[] | undefined;
  readonly tls: { readonly cert: Buffer; readonly key: Buffer } | undefined;
}

/** A running server. */
export interface RunningServer {
  /** One line with the URL and the configuration. */
  readonly description: string;
  readonly port: number;
  /** Drains the server. Requests in flight have 30 seconds to complete; after that they are aborted. */
  close(): Promise<void>;
}

/** Serves a store over HTTP/1.1 and HTTP/2. Resolves when the server is listening. */
export async function serve(options: ServeOptions): Promise<RunningServer> {
  const { tls, allowedHosts } = options;
  const access =
    options.access && (await tokenFile(options.access.file, { anonymous: options.access.anonymous, onWarning: warn }));
  const served = await openStore(options);
  const { store } = served;
  const memory = systemMemoryPressure();
  const handler = createHandler({
    store: options.writable ? store : readOnly(store),
    protocols: createProtocols(options.protocols, options),
    access,
    allowedHosts,
    memory,
  });
  let isDraining = false;
  let pages: ExchangeHandler | undefined;
  let dashboard: Dashboard | undefined;
  const handleOperatorRequest = async (exchange: Exchange): Promise<boolean> =>
    (await pages?.handle(exchange)) || (await dashboard?.handle(exchange)) || handler.handle(exchange);
  const root: ExchangeHandler = {
    handle: (exchange) =>
      exchange.url.startsWith(OPERATOR_PATH) ? handleOperatorRequest(exchange) : handler.handle(exchange),
  };
  const server = createServer(root, { memory, tls, maxConnections: options.maxConnections });
  const { version } = options;
  pages = createStatusPages({ version, handler, server, store, access, allowedHosts, isDraining: () => isDraining });
  dashboard = createDashboard({ handler, server, store, access, allowedHosts, path: OPERATOR_PATH });
  await server.listen({ port: options.port, host: options.host });
  // The address is an AddressInfo because the server listens on a port.
  const { port } = server.address() as AddressInfo;
  const host = options.host.includes(':') ? `[${options.host}]` : options.host;
  return {
    port,
    description: `hotblob listening on ${tls ? 'https' : 'http'}://${host}:${port} (${describeConfiguration(handler, memory.sensor, served, options)})`,
    async close() {
      isDraining = true;
      dashboard.close();
      await server.close();
      handler.close();
      await store.close();
    },
  };
}

function warn(line: string): void {
  process.stderr.write(`hotblob: ${line}\n`);
}

function readOnly(store: Store): Store {
  return { get: (key, options) => store.get(key, options) };
}

function describeConfiguration(
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
    `mapping: ${mapper === undefined ? 'none' : immutable ? mapper : `none, the directory is not known to be immutable`}`,
    `page-cache copy: ${copiesResident ? 'preadv2 through koffi' : 'none'}`,
    `memory sensor: ${sensor}`,
  ].join('; ');
}
