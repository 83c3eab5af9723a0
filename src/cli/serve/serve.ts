import type { AddressInfo } from 'node:net';
import { resolve } from 'node:path';
import { clusterStats } from '../../cluster/cluster-stats.js';
import type { CloseReason } from '../../cluster/messages.js';
import { aloneProcess, type ServingProcess } from '../../cluster/serving-process.js';
import type { Exchange } from '../../contract/exchange.js';
import type { ListOptions, Store } from '../../contract/store.js';
import { createDashboard, type Dashboard } from '../../dashboard/dashboard.js';
import { createHandler, type ExchangeHandler, type Handler } from '../../handler/handler.js';
import { systemMemoryPressure } from '../../memory/pressure.js';
import type { CacheServer } from '../../server/cache-server.js';
import { createServer } from '../../server/server.js';
import { AccessLog } from '../access-log/access-log.js';
import type { AccessLogFormat } from '../access-log/entry.js';
import { LineFile } from '../access-log/line-file.js';
import type { Certificate, CertificatePaths } from './certificate.js';
import { CertificateFiles } from './certificate-files.js';
import { describeAccess, isOpenToAll } from './describe-access.js';
import { createFrontPage } from './front-page.js';
import { listenError } from './listen-error.js';
import { nameOption } from './name-option.js';
import { type AccessFiles, openAccess } from './open-access.js';
import { openStore, type ServedStore, type ServedStoreOptions } from './open-store.js';
import { isOperatorPath, OPERATOR_PATH } from './operator-path.js';
import { createProtocols, type ProtocolName } from './protocol-names.js';
import { startWarnings } from './start-warnings.js';
import { createStatusPages, type StatusPages } from './status-pages.js';
import { createStoreProbe } from './store-probe.js';
import type { TrustedProxies } from './trusted-proxies.js';

/** Options of {@link serve}. */
export interface ServeOptions extends ServedStoreOptions {
  /** Version of this package. */
  readonly version: string;
  /** Port to listen on; 0 selects a free port. */
  readonly port: number;
  readonly host: string;
  /** Maximum number of connections, of all processes together. Default: as for `createServer`. */
  readonly maxConnections?: number | undefined;
  /** Default: as for `createHandler`. */
  readonly maxUploadBytes?: number | undefined;
  /** Time after which an idle connection is closed. Default: as for `createServer`. */
  readonly keepAliveTimeoutMs?: number | undefined;
  /** Time for requests in flight to complete when the server closes. Default: as for `createServer`. */
  readonly shutdownTimeoutMs?: number | undefined;
  readonly writable: boolean;
  /** Whether the store is opened for reading only. Default: false. */
  readonly readOnly?: boolean | undefined;
  /** Whether the first upload of each key is kept. Default: uploads replace artifacts. */
  readonly writeOnce?: boolean | undefined;
  readonly protocols: readonly ProtocolName[];
  /** Files that decide who may use the cache. `undefined`: no authentication. */
  readonly access: AccessFiles | undefined;
  /** Host names that requests may be for, in addition to those of the loopback interface. Default: see `HandlerOptions`. */
  readonly allowedHosts?: readonly string[] | undefined;
  /** File for a line about each request; `-` for stdout. Default: none. */
  readonly accessLog?: { readonly path: string; readonly format: AccessLogFormat } | undefined;
  /** Proxies whose `Forwarded` and `X-Forwarded-For` name the client. Default: none. */
  readonly trustedProxies?: TrustedProxies | undefined;
  /** Files of the certificate chain and the private key. `undefined`: no TLS. */
  readonly tls: CertificatePaths | undefined;
}

/** A running server. */
export interface RunningServer {
  /** A line with the URL and the configuration, and a line about access. */
  readonly description: string;
  readonly port: number;
  /** Reads the files of access and certificate again: with several processes, in their successors. Problems are written to stderr. Never rejects. */
  reload(): Promise<void>;
  /** Drains the server. Requests in flight that have not completed in time are aborted. */
  close(reason?: CloseReason): Promise<void>;
  /** Kills the other processes of the server, if it has any. */
  kill?(): void;
}

/**
 * Serves a store over HTTP/1.1 and HTTP/2. Resolves when the server is listening.
 *
 * @param self this process, which may be one of several
 * @param warn writes a line to the log
 */
export async function serve(
  options: ServeOptions,
  self: ServingProcess = aloneProcess(),
  warn: (line: string) => void = writeLine,
): Promise<RunningServer> {
  const { allowedHosts } = options;
  const servedAccess = options.access && (await openAccess(options.access, warn));
  const access = servedAccess?.policy;
  const certificateFiles = options.tls && new CertificateFiles(options.tls);
  const certificate = await certificateFiles?.load();
  const warnings = await startWarnings(options, certificate, servedAccess?.oidc);
  const served = await openStore(options).catch((error: unknown) => {
    throw nameOption(error);
  });
  const { store } = served;
  const memory = systemMemoryPressure();
  const handler = createHandler({
    store: options.writable ? store : readOnly(store),
    protocols: createProtocols(options.protocols, { ...options, countBytes: served.countBytes }),
    access,
    allowedHosts,
    overwrite: !options.writeOnce,
    maxUploadBytes: options.maxUploadBytes,
    processes: self.processes,
    memory,
  });
  const front = createFrontPage({ version: options.version, access, allowedHosts });
  let isDraining = false;
  let pages: StatusPages | undefined;
  let dashboard: Dashboard | undefined;
  const handleOperatorRequest = async (exchange: Exchange): Promise<boolean> =>
    (await front.handle(exchange)) ||
    (await pages?.handle(exchange)) ||
    (await dashboard?.handle(exchange)) ||
    handler.handle(exchange);
  const root: ExchangeHandler = {
    handle: (exchange) =>
      exchange.url === '/' || isOperatorPath(exchange.url) ? handleOperatorRequest(exchange) : handler.handle(exchange),
  };
  const log = options.accessLog && (await openAccessLog(root, options.accessLog));
  const logged = log?.handler ?? root;
  const server = createServer(options.trustedProxies?.wrap(logged) ?? logged, {
    memory,
    tls: certificate && tlsOptions(certificate),
    maxConnections: connectionShare(options.maxConnections, self),
    processes: self.processes,
    keepAliveTimeoutMs: options.keepAliveTimeoutMs,
    idleTimeoutMs: options.keepAliveTimeoutMs,
  });
  const { version } = options;
  const sources = self.isAlone ? { handler, server, store } : sumOfProcesses(handler, server, store);
  pages = createStatusPages({
    version,
    ...sources,
    artifacts: options.writable ? store : { list: (list) => store.list(list) },
    access,
    allowedHosts,
    overwrite: !options.writeOnce,
    isDraining: () => isDraining,
    storeProblem: createStoreProbe(options.dir),
  });
  const readOnlyReason = options.readOnly ? '--read-only' : served.readOnlyReason;
  const accessLine = describeAccess(options, { readOnlyReason, oidc: servedAccess?.oidc });
  dashboard = createDashboard({
    ...sources,
    removal: options.writable && !options.writeOnce,
    about: describeServer(options, served.kind, accessLine),
    access,
    allowedHosts,
    path: OPERATOR_PATH,
  });
  try {
    await server.listen(await self.listenOptions({ port: options.port, host: options.host }));
  } catch (error) {
    throw listenError(error, options);
  }
  if (served.readOnlyReason !== undefined && self.isFirst) {
    warn(`${options.dir} is served read-only, uploads are refused: ${served.readOnlyReason}`);
  }
  if (self.isFirst) for (const warning of warnings) warn(warning);
  certificateFiles?.watch({
    onRenewed(renewed) {
      const { cert, key, ca } = tlsOptions(renewed);
      server.setSecureContext({ cert, key, ca });
      warn(`certificate reloaded: valid until ${renewed.validTo.toISOString().slice(0, 10)}`);
    },
    onProblem: (problem) => warn(`certificate not reloaded, the previous one remains in use: ${problem}`),
  });
  // The first request then does not wait for the keys.
  void servedAccess?.oidc?.reload();
  // The address is an AddressInfo because the server listens on a port.
  const { port } = server.address() as AddressInfo;
  const host = options.host.includes(':') ? `[${options.host}]` : options.host;
  const url = `${certificate === undefined ? 'http' : 'https'}://${host}:${port}`;
  return {
    port,
    description: `hotblob listening on ${url} (${describeConfiguration(handler, memory.sensor, served, options)})\n${accessLine}`,
    async reload() {
      await Promise.all([servedAccess?.reload(), certificateFiles?.reload()]);
    },
    async close(reason) {
      isDraining = true;
      certificateFiles?.close();
      pages.close();
      dashboard.close();
      await server.close({ timeoutMs: options.shutdownTimeoutMs, stopListening: reason === 'replaced' });
      handler.close();
      await store.close();
      await log?.close();
    },
  };
}

/** Opens the access log of a handler. On SIGUSR1, the file is opened again. */
async function openAccessLog(root: ExchangeHandler, { path, format }: NonNullable<ServeOptions['accessLog']>) {
  const file = await LineFile.open(path);
  const handler = new AccessLog(root, file, format);
  const reopen = (): void => file.reopen();
  process.on('SIGUSR1', reopen);
  return {
    handler,
    close: async (): Promise<void> => {
      process.off('SIGUSR1', reopen);
      handler.close();
      await file.close();
    },
  };
}

/** A client without a certificate, or with an invalid one, may use other credentials. */
function tlsOptions({ cert, key, clientCa: ca }: Certificate) {
  return ca === undefined ? { cert, key } : { cert, key, ca, requestCert: true, rejectUnauthorized: false };
}

/** Returns the sources of the statistics of all processes. */
function sumOfProcesses(handler: Handler, server: CacheServer, store: ServedStore['store']) {
  const stats = clusterStats({ handlers: { cache: handler }, servers: { main: server }, stores: { main: store } });
  return {
    handler: stats.handlers.cache,
    server: stats.servers.main,
    store: {
      ...stats.stores.main,
      list: (list?: ListOptions) => store.list(list),
      ...(store.delete && { delete: store.delete.bind(store) }),
    },
    processes: stats.processes,
  };
}

/** Returns the part of a limit for all processes that this process has. */
function connectionShare(
  total: number | undefined,
  { isAlone, processes }: ServingProcess,
): number | (() => number) | undefined {
  return total === undefined || isAlone ? total : () => Math.ceil(total / processes());
}

/** Writes a line to the log. */
export function writeLine(line: string): void {
  process.stderr.write(`hotblob: ${line}\n`);
}

function readOnly(store: Store): Store {
  return { get: (key, options) => store.get(key, options) };
}

/** Returns what the live page shows about the server. If every client can open the page, it has no paths. */
function describeServer(
  options: ServeOptions,
  store: ServedStore['kind'],
  accessLine: string,
): Readonly<Record<string, string>> {
  const about = { version: options.version, store };
  if (isOpenToAll(options)) return about;
  return { ...about, directory: resolve(options.dir), access: accessLine.replace('access: ', '') };
}

function describeConfiguration(
  handler: Handler,
  sensor: string,
  { kind, immutable }: ServedStore,
  { upstream, protocols, processes = 1 }: ServeOptions,
): string {
  const { mapper, copiesResident } = handler.stats();
  return [
    `store: ${kind}`,
    ...(upstream === undefined ? [] : [`upstream: ${new URL(upstream.url).origin}`]),
    `protocols: ${protocols.join(', ')}`,
    `mapping: ${mapper === undefined ? 'none' : immutable ? mapper : `none, the directory is not known to be immutable`}`,
    `page-cache copy: ${copiesResident ? 'preadv2 through koffi' : 'none'}`,
    `memory sensor: ${sensor}`,
    ...(processes === 1 ? [] : [`processes: ${processes}`]),
  ].join('; ');
}
