import type { TlsOptions } from 'node:tls';
import { HotblobError } from '../contract/errors.js';
import {
  assertOptions,
  countFrom,
  invalidOption,
  MILLISECONDS,
  OBJECT,
  type OptionCheck,
  WINDOW_BYTES,
} from '../contract/validation.js';
import type { ExchangeHandler } from '../handler/handler.js';
import { assertMemoryPressure, type MemoryPressureProvider, sharedMemoryPressure } from '../memory/pressure.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const SECOND = 1000;
const MINUTE = 60 * SECOND;

/** What {@link createServer} takes. Times are in milliseconds, sizes in bytes; every limit is one process's. */
export interface ServerOptions extends LimitOptions {
  /** Certificate, key and whatever else node:tls takes. With it the port speaks TLS, and ALPN chooses the protocol. */
  readonly tls?: TlsOptions | undefined;
  /** Answers first, over both protocols; what is not its own goes to the listener. */
  readonly handler?: ExchangeHandler | undefined;
  /** What tells how much memory is left: it sizes the receive windows. Default: `systemMemoryPressure()`. */
  readonly memory?: MemoryPressureProvider | undefined;
}

type LimitOptions = { readonly [Name in keyof Limits]?: Limits[Name] | undefined };

/** The times and limits; the README lists their defaults. */
export interface Limits {
  /** Processes of this host that share its memory: each takes its part of what uploads may buffer. */
  readonly processes: number;
  /** Streams of one session at the same time. */
  readonly maxStreams: number;
  /** All headers of a request together. */
  readonly maxHeaderBytes: number;
  /** Headers of a request. */
  readonly maxHeaders: number;
  /** What one session may have in memory, all written and not yet sent included. */
  readonly maxSessionBytes: number;
  /** What a client may send of one upload before it is read, while memory is at ease. */
  readonly streamWindowBytes: number;
  /** The same for all uploads of one session. */
  readonly sessionWindowBytes: number;
  /** From the connection to what tells its protocol; for a TLS handshake too. */
  readonly prefaceTimeoutMs: number;
  /** From the connection, or a request's first byte, to the end of its headers. */
  readonly headersTimeoutMs: number;
  /** How long an HTTP/1.1 connection may stay without a request. */
  readonly keepAliveTimeoutMs: number;
  /** How long an HTTP/2 session may stay without a stream. */
  readonly idleTimeoutMs: number;
  /** A session that has said nothing for this long is asked by PING. */
  readonly pingIntervalMs: number;
  /** How long the answer may take, on top of the time that what is queued needs at `minBytesPerSecond`. */
  readonly pingTimeoutMs: number;
  /** How long a write may make no progress, on top of the time that its bytes need at `minBytesPerSecond`. */
  readonly writeTimeoutMs: number;
  /** The lowest rate at which a client may read. */
  readonly minBytesPerSecond: number;
  /** A connection older than this, give or take a tenth, is asked to go. */
  readonly maxAgeMs: number;
  /** One that has been asked to go is cut off when nothing has moved on it for this long. */
  readonly graceMs: number;
  /** Streams of a session that end in a reset, whoever sends it: as a burst (nghttp2 goes deaf at 1,000), ... */
  readonly resetBurst: number;
  /** ... and beyond it. */
  readonly resetsPerSecond: number;
  /** PING and SETTINGS of a session, likewise. */
  readonly controlBurst: number;
  /** ... and beyond the burst. */
  readonly controlsPerSecond: number;
}

export const DEFAULT_LIMITS: Limits = {
  processes: 1,
  maxStreams: 128,
  maxHeaderBytes: 16 * KIB,
  maxHeaders: 100,
  maxSessionBytes: 64 * MIB,
  streamWindowBytes: 4 * MIB,
  sessionWindowBytes: 16 * MIB,
  prefaceTimeoutMs: 10 * SECOND,
  headersTimeoutMs: 30 * SECOND,
  keepAliveTimeoutMs: 75 * SECOND,
  idleTimeoutMs: 5 * MINUTE,
  pingIntervalMs: 30 * SECOND,
  pingTimeoutMs: 20 * SECOND,
  writeTimeoutMs: 30 * SECOND,
  minBytesPerSecond: 64 * KIB,
  maxAgeMs: 60 * MINUTE,
  graceMs: 30 * SECOND,
  resetBurst: 500,
  resetsPerSecond: 33,
  controlBurst: 1000,
  controlsPerSecond: 100,
};

/** The options with nothing left out. */
export interface ServerSettings {
  readonly tls: TlsOptions | undefined;
  readonly handler: ExchangeHandler | undefined;
  readonly memory: MemoryPressureProvider;
  readonly limits: Limits;
}

/**
 * Fills in the defaults.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown name or a wrong value
 */
export function serverSettingsOf(options: ServerOptions): ServerSettings {
  assertOptions(options, CHECKS);
  const { tls, handler, memory, ...given } = options;
  if (memory !== undefined) assertMemoryPressure(memory);
  if (handler !== undefined && !isExchangeHandler(handler)) throw invalidOption('handler', 'a handler', handler);
  const set = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  const limits: Limits = { ...DEFAULT_LIMITS, ...set };
  if (limits.sessionWindowBytes < limits.streamWindowBytes) {
    throw invalidOption('sessionWindowBytes', 'at least streamWindowBytes', limits.sessionWindowBytes);
  }
  return { tls, handler, memory: memory ?? sharedMemoryPressure(), limits };
}

/** Whether an object answers exchanges. An Express application has a `handle` too, but is a function. */
export function isExchangeHandler(value: unknown): value is ExchangeHandler {
  return typeof value === 'object' && value !== null && 'handle' in value && typeof value.handle === 'function';
}

/** @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for what is neither a listener nor a handler */
export function assertListener(listener: unknown): void {
  if (typeof listener === 'function' || isExchangeHandler(listener)) return;
  const message = `listener: expected a function (request, response) or a handler, received ${typeof listener}`;
  throw new HotblobError('ERR_HOTBLOB_INVALID_OPTION', message);
}

const CHECKS: Readonly<Record<keyof ServerOptions, OptionCheck>> = {
  tls: OBJECT,
  handler: OBJECT,
  memory: OBJECT,
  processes: countFrom(1),
  maxStreams: countFrom(1),
  maxHeaderBytes: countFrom(KIB),
  maxHeaders: countFrom(1),
  maxSessionBytes: countFrom(10 * MIB),
  streamWindowBytes: WINDOW_BYTES,
  sessionWindowBytes: WINDOW_BYTES,
  prefaceTimeoutMs: MILLISECONDS,
  headersTimeoutMs: MILLISECONDS,
  keepAliveTimeoutMs: MILLISECONDS,
  idleTimeoutMs: MILLISECONDS,
  pingIntervalMs: MILLISECONDS,
  pingTimeoutMs: MILLISECONDS,
  writeTimeoutMs: MILLISECONDS,
  minBytesPerSecond: countFrom(1),
  maxAgeMs: MILLISECONDS,
  graceMs: MILLISECONDS,
  resetBurst: countFrom(1),
  resetsPerSecond: countFrom(1),
  controlBurst: countFrom(1),
  controlsPerSecond: countFrom(1),
};
