import type { ServerOptions as Http1Options } from 'node:http';
import type { ServerOptions as Http2Options } from 'node:http2';
import type { TlsOptions } from 'node:tls';
import type { Limits } from './options.js';

/** Unit of the option `maxSessionMemory` of node:http2. */
const MEGABYTE = 1_000_000;
const FRAME_BYTES = 16 * 1024;
/** Number of pseudo-headers (`:method`, `:scheme`, `:authority` and `:path`), which Node counts as headers. */
const PSEUDO_HEADERS = 4;
const MIN_CHECK_MS = 10;
const MAX_CHECK_MS = 1000;

export function http1Options(limits: Limits): Http1Options {
  return {
    maxHeaderSize: limits.maxHeaderBytes,
    headersTimeout: limits.headersTimeoutMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    // The time of a whole request has no limit, because a large upload may take long.
    requestTimeout: 0,
    connectionsCheckingInterval: clamp(limits.headersTimeoutMs / 4),
  };
}

export function http2Options(limits: Limits): Http2Options {
  return {
    maxSessionMemory: Math.ceil(limits.maxSessionBytes / MEGABYTE),
    maxHeaderListPairs: limits.maxHeaders + PSEUDO_HEADERS,
    settings: {
      maxConcurrentStreams: limits.maxStreams,
      maxFrameSize: FRAME_BYTES,
      maxHeaderListSize: limits.maxHeaderBytes,
      initialWindowSize: limits.streamWindowBytes,
    },
  };
}

export function tlsOptions(limits: Limits): TlsOptions {
  return { ALPNProtocols: ['h2', 'http/1.1'], handshakeTimeout: limits.prefaceTimeoutMs };
}

/** Returns the interval between checks of the connections: a quarter of the shortest time limit. */
export function checkIntervalMs(limits: Limits): number {
  const times = Object.entries(limits).filter(([name]) => name.endsWith('Ms'));
  return clamp(Math.min(...times.map(([, value]) => value)) / 4);
}

function clamp(ms: number): number {
  return Math.min(MAX_CHECK_MS, Math.max(MIN_CHECK_MS, ms));
}
