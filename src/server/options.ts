import type { SecureContextOptions, TlsOptions } from 'node:tls';
import { inspect } from 'node:util';
import { HotblobError } from '../contract/errors.js';
import {
  assertOptions,
  countFrom,
  invalidOption,
  MILLISECONDS,
  OBJECT,
  type OptionCheck,
  orFunction,
  unknownOption,
  WINDOW_BYTES,
} from '../contract/validation.js';
import { assertHandler, isHandler } from '../handler/assert-handler.js';
import type { ExchangeHandler } from '../handler/handler.js';
import { assertMemoryPressure, type MemoryPressureProvider, sharedMemoryPressure } from '../memory/pressure.js';
import { descriptorLimit } from '../page-cache/bindings.js';
import { definedOnly } from '../util/defined-only.js';
import { type Limit, shareOf } from '../util/limit.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const SECOND = 1000;
const MINUTE = 60 * SECOND;

/** Options of `createServer`. Times are in milliseconds, sizes in bytes. Every limit applies to one process. */
export interface ServerOptions extends LimitOptions {
  /**
   * TLS certificate, key and other options of node:tls. If given, the port speaks TLS, and ALPN selects the protocol.
   * Default: no TLS.
   */
  readonly tls?: TlsOptions | undefined;
  /**
   * Handler that gets every request first. Requests that the handler does not handle are passed to the listener.
   * Default: none.
   */
  readonly handler?: ExchangeHandler | undefined;
  /**
   * Maximum number of open connections, at most three quarters of RLIMIT_NOFILE, because files need descriptors too. At the
   * limit, the connection that has been idle for longest is closed for a new one. If none is idle, it is
   * the one whose client has kept the server waiting for longest, at least five seconds. In both cases, connections of the
   * address with the most connections come first, unless it is a loopback address. If there is none, the new one is
   * closed. A function is called for each new connection. Default: half of RLIMIT_NOFILE minus an eighth of it, where the
   * eighth counts as at most 64, divided by `processes`.
   */
  readonly maxConnections?: number | (() => number) | undefined;
  /**
   * Provider of the memory pressure, which determines the receive windows of uploads. Default:
   * `systemMemoryPressure()`.
   */
  readonly memory?: MemoryPressureProvider | undefined;
}

type LimitOptions = { readonly [Name in keyof Limits]?: Limits[Name] | undefined };

/** Timeouts and limits of a server. The defaults are in `DEFAULT_LIMITS`. */
export interface Limits {
  /**
   * Number of processes on this host that share its memory, or a function that returns the current number. With
   * `processes: n`, each process uses 1/n of the memory for uploads, and the default of `maxConnections` is divided by n.
   * Default: 1.
   */
  readonly processes: number | (() => number);
  /** Maximum number of concurrent streams of an HTTP/2 session. Default: 128. */
  readonly maxStreams: number;
  /**
   * Time for which an HTTP/1.1 connection may be idle. It should exceed the idle timeout of a load balancer in front of
   * the server. Default: 75 s.
   */
  readonly keepAliveTimeoutMs: number;
  /**
   * Time for which an HTTP/2 session may have no stream. It should also exceed the idle timeout of the load balancer.
   * Default: 5 min.
   */
  readonly idleTimeoutMs: number;
  /**
   * Maximum time without progress of a write. The time that the queued bytes need at `minBytesPerSecond` is added.
   * Default: 30 s.
   */
  readonly writeTimeoutMs: number;
  /**
   * Age at which a connection is drained, so that clients are distributed over new backends. It varies by 10% at
   * random. Default: 1 h.
   */
  readonly maxAgeMs: number;

  // Advanced

  /** Maximum size of all headers of a request. Default: 16 KiB. */
  readonly maxHeaderBytes: number;
  /** Maximum number of headers of a request. Default: 100. */
  readonly maxHeaders: number;
  /** Maximum memory of an HTTP/2 session, including its unsent bytes. Default: 64 MiB. */
  readonly maxSessionBytes: number;
  /**
   * HTTP/2 receive window of a stream: number of bytes of an upload that a client may send before the server reads
   * them. The window is smaller if memory pressure is not normal, or if many uploads share the memory. Default: 4 MiB.
   */
  readonly streamWindowBytes: number;
  /** HTTP/2 receive window of a session. At least `streamWindowBytes`. Default: 16 MiB. */
  readonly sessionWindowBytes: number;
  /**
   * Maximum time from the start of a connection until the client has sent the bytes that show the protocol. Also the
   * maximum time of the TLS handshake. Default: 10 s.
   */
  readonly prefaceTimeoutMs: number;
  /**
   * Maximum time from the start of a connection, or from the first byte of a request, to the end of the request
   * headers. Default: 30 s.
   */
  readonly headersTimeoutMs: number;
  /**
   * Time in which no byte of a request body arrives although the application reads it, after which an HTTP/1.1 connection
   * is destroyed. Default: 60 s.
   */
  readonly bodyTimeoutMs: number;
  /** Time without bytes from the client after which the server sends a PING on an HTTP/2 session. Default: 30 s. */
  readonly pingIntervalMs: number;
  /**
   * Maximum time for the answer to a PING. The time that queued bytes need at `minBytesPerSecond` is added. Default: 20
   * s.
   */
  readonly pingTimeoutMs: number;
  /** Minimum rate at which a client must read a response. A slower write counts as stalled. Default: 64 KiB/s. */
  readonly minBytesPerSecond: number;
  /** Grace period: time without progress after which a drained HTTP/2 session is destroyed. Default: 30 s. */
  readonly graceMs: number;
  /**
   * Number of streams of a session that may end with a reset at once, whether the client or the server resets them.
   * nghttp2 itself stops reading from a session after 1,000 resets. Default: 500.
   */
  readonly resetBurst: number;
  /** Number of resets per second that are allowed after the burst. Default: 33. */
  readonly resetsPerSecond: number;
  /** Number of PING and SETTINGS frames that a client may send at once. Default: 1,000. */
  readonly controlBurst: number;
  /** Number of PING and SETTINGS frames per second that are allowed after the burst. Default: 100. */
  readonly controlsPerSecond: number;
}

export const DEFAULT_LIMITS: Limits = {
  processes: 1,
  maxStreams: 128,
  keepAliveTimeoutMs: 75 * SECOND,
  idleTimeoutMs: 5 * MINUTE,
  writeTimeoutMs: 30 * SECOND,
  maxAgeMs: 60 * MINUTE,
  // Advanced
  maxHeaderBytes: 16 * KIB,
  maxHeaders: 100,
  maxSessionBytes: 64 * MIB,
  streamWindowBytes: 4 * MIB,
  sessionWindowBytes: 16 * MIB,
  prefaceTimeoutMs: 10 * SECOND,
  headersTimeoutMs: 30 * SECOND,
  bodyTimeoutMs: 60 * SECOND,
  pingIntervalMs: 30 * SECOND,
  pingTimeoutMs: 20 * SECOND,
  minBytesPerSecond: 64 * KIB,
  graceMs: 30 * SECOND,
  resetBurst: 500,
  resetsPerSecond: 33,
  controlBurst: 1000,
  controlsPerSecond: 100,
};

/** Validated options with defaults filled in. */
export interface ServerSettings {
  readonly tls: TlsOptions | undefined;
  readonly handler: ExchangeHandler | undefined;
  readonly maxConnections: Limit;
  readonly memory: MemoryPressureProvider;
  readonly limits: Limits;
}

/**
 * Validates the options and fills in the defaults.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown name or an invalid value
 */
export function serverSettingsOf(options: ServerOptions): ServerSettings {
  for (const name of ['port', 'host']) {
    if (!OBJECT.accepts(options) || !(name in options)) continue;
    const { message } = unknownOption(name, Object.keys(CHECKS));
    throw new HotblobError('ERR_HOTBLOB_INVALID_OPTION', `${message}; pass ${name} to server.listen({ ${name} })`);
  }
  assertOptions(options, CHECKS);
  if (options.tls !== undefined) assertPem(options.tls);
  const { tls, handler, maxConnections, memory, ...limitOptions } = options;
  if (memory !== undefined) assertMemoryPressure(memory);
  if (handler !== undefined) assertHandler(handler);
  const limits: Limits = { ...DEFAULT_LIMITS, ...definedOnly(limitOptions) };
  if (limits.sessionWindowBytes < limits.streamWindowBytes) {
    throw invalidOption('sessionWindowBytes', 'at least streamWindowBytes', limits.sessionWindowBytes);
  }
  return {
    tls,
    handler,
    maxConnections: connectionLimit(maxConnections, limits.processes),
    memory: memory ?? sharedMemoryPressure(),
    limits,
  };
}

/**
 * Asserts that the certificate and the key are the contents of PEM files. A path is a frequent mistake, for which OpenSSL only
 * says "no start line".
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`. Its message shows neither of them
 */
export function assertPem(options: SecureContextOptions): void {
  for (const name of ['cert', 'key'] as const) {
    const value = options[name];
    if (typeof value !== 'string' && !(value instanceof Uint8Array)) continue;
    if (Buffer.from(value).includes('-----BEGIN ')) continue;
    const message = `tls.${name}: expected the contents of a PEM file, such as await readFile('${name}.pem'), received ${value.length} characters without -----BEGIN (a path?)`;
    throw new HotblobError('ERR_HOTBLOB_INVALID_OPTION', message);
  }
}

function connectionLimit(requested: Limit | undefined, processes: Limit): Limit {
  const limit = descriptorLimit();
  const max = Math.floor((limit * 3) / 4);
  // The handler keeps half of the descriptors open. The rest is for stores and for the process itself.
  const standard = Math.floor(limit / 2) - Math.min(64, Math.floor(limit / 8));
  if (requested === undefined) return shareOf(standard, processes, 1);
  const within = (count: number): number => Math.max(1, Math.min(count, max));
  return typeof requested === 'number' ? within(requested) : () => within(requested());
}

/** @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` if `listener` is neither a function nor a handler */
export function assertListener(listener: unknown): void {
  // An Express application has a `handle` method too, but it is accepted as a function.
  if (typeof listener === 'function' || isHandler(listener)) return;
  const message = `listener: expected a function (request, response) or a handler, received ${inspect(listener, { depth: 0 })}; pass app.callback() of Koa, and createServer(handler) for a handler alone`;
  throw new HotblobError('ERR_HOTBLOB_INVALID_OPTION', message);
}

const CHECKS: Readonly<Record<keyof ServerOptions, OptionCheck>> = {
  tls: OBJECT,
  handler: OBJECT,
  maxConnections: orFunction(countFrom(1)),
  memory: OBJECT,
  processes: orFunction(countFrom(1)),
  maxStreams: countFrom(1),
  keepAliveTimeoutMs: MILLISECONDS,
  idleTimeoutMs: MILLISECONDS,
  writeTimeoutMs: MILLISECONDS,
  maxAgeMs: MILLISECONDS,
  maxHeaderBytes: countFrom(KIB),
  maxHeaders: countFrom(1),
  maxSessionBytes: countFrom(10 * MIB),
  streamWindowBytes: WINDOW_BYTES,
  sessionWindowBytes: WINDOW_BYTES,
  prefaceTimeoutMs: MILLISECONDS,
  headersTimeoutMs: MILLISECONDS,
  bodyTimeoutMs: MILLISECONDS,
  pingIntervalMs: MILLISECONDS,
  pingTimeoutMs: MILLISECONDS,
  minBytesPerSecond: countFrom(1),
  graceMs: MILLISECONDS,
  resetBurst: countFrom(1),
  resetsPerSecond: countFrom(1),
  controlBurst: countFrom(1),
  controlsPerSecond: countFrom(1),
};
