import { once } from 'node:events';
import {
  createServer as createHttp1Server,
  type ServerOptions as Http1Options,
  type Server as Http1Server,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import {
  createServer as createHttp2Server,
  type ServerOptions as Http2Options,
  type Http2Server,
  type ServerHttp2Session,
} from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo, ListenOptions, Socket } from 'node:net';
import { setTimeout as setTimeoutAsync } from 'node:timers/promises';
import { TLSSocket, type TlsOptions } from 'node:tls';
import { Http1Exchange } from '../adapters/http1-exchange.js';
import type { ExchangeHandler } from '../handler/handler.js';
import { answerError } from '../handler/reply.js';
import { Http1Connection } from './http1-connection.js';
import { Http2Connection, type ServerShares } from './http2-connection.js';
import { listenersOf, type RequestListener } from './listeners.js';
import type { LiveConnection } from './live-connection.js';
import { logConnection } from './log.js';
import { assertListener, type Limits, type ServerOptions, type ServerSettings, serverSettingsOf } from './options.js';
import { onProtocol, type Protocol } from './preface.js';
import { UploadBudget } from './receive-windows.js';
import { ConnectionTotals, type ServerStats } from './stats.js';
import { UnknownConnection } from './unknown-connection.js';

/** The unit of node:http2's maxSessionMemory. */
const MEGABYTE = 1_000_000;
const FRAME_BYTES = 16 * 1024;
/** `:method`, `:scheme`, `:authority`, `:path`: Node counts them with the others. */
const PSEUDO_HEADERS = 4;
/** How often connections are looked at, at most and at least. */
const SHORTEST_LOOK_MS = 10;
const LONGEST_LOOK_MS = 1000;
/** How often while a server closes. */
const DRAIN_LOOK_MS = 50;
const DRAIN_MS = 30_000;

/** A port that speaks HTTP/1.1 and HTTP/2. Made by {@link createServer}. */
export interface CacheServer {
  /** Resolves when it listens; rejects with the error of the system, such as EADDRINUSE. */
  listen(options: ListenOptions): Promise<void>;
  /** Where it listens; null when it does not. */
  address(): AddressInfo | string | null;
  /** What it has done so far, and which connections it has now. */
  stats(): ServerStats;
  /**
   * Asks all clients to go, lets what is in flight complete, and cuts off what is left after `timeoutMs` (default: 30 s).
   * It listens until the connections of before are gone, so that its readiness can be asked for. Resolves when nothing
   * is left.
   */
  close(options?: { readonly timeoutMs?: number }): Promise<void>;
}

/**
 * Gives a listener a port that speaks HTTP/1.1 and HTTP/2: on a plain port by what the client sends first (RFC 9113,
 * 3.3), with TLS by ALPN.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 */
export function createServer(listener: RequestListener | ExchangeHandler, options: ServerOptions = {}): CacheServer {
  assertListener(listener);
  return new DualServer(listener, serverSettingsOf(options));
}

class DualServer implements CacheServer {
  readonly #limits: Limits;
  readonly #shares: ServerShares;
  /** What listens: a server of node:http or node:https that gets only the connections that speak HTTP/1.1. */
  readonly #port: Http1Server;
  /** What node:http would do with every connection that it accepts. */
  readonly #http1: (socket: Socket) => void;
  readonly #http2: Http2Server;
  readonly #connections = new Map<Socket, LiveConnection>();
  /** Below TLS, from before its handshake on. */
  readonly #rawSockets = new Set<Socket>();
  #looking: NodeJS.Timeout | undefined;
  #isDraining = false;

  constructor(listener: RequestListener | ExchangeHandler, { tls, handler, memory, limits }: ServerSettings) {
    this.#limits = limits;
    this.#shares = { limits, budget: new UploadBudget(memory, limits), totals: new ConnectionTotals() };
    const listeners = listenersOf(listener, handler);
    this.#http2 = createHttp2Server(http2Options(limits));
    listeners.attachTo(this.#http2);
    const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
      if (this.#admits(request, response)) listeners.http1(request, response);
    };
    const options = http1Options(limits);
    this.#port =
      tls === undefined
        ? createHttp1Server(options, onRequest)
        : createHttpsServer({ ...tls, ...tlsOptions(limits), ...options }, onRequest);
    this.#port.maxHeadersCount = limits.maxHeaders + 1; // one more, so that it can be seen
    const accepted = tls === undefined ? 'connection' : 'secureConnection';
    const takers = this.#port.listeners(accepted);
    this.#http1 = (socket) => {
      for (const take of takers) take.call(this.#port, socket);
    };
    this.#port.removeAllListeners(accepted);
    if (tls === undefined) {
      this.#port.on('connection', (socket) => this.#acceptPlain(socket));
    } else {
      this.#port.on('connection', (socket) => this.#keepRaw(socket));
      this.#port.on('secureConnection', (socket: TLSSocket) => this.#acceptSecure(socket));
      this.#port.on('tlsClientError', (error: Error) => logConnection('TLS: %s', error.message));
    }
    // Called by close(): it would cut off responses that are still being sent. Connections know better when they are idle.
    this.#port.closeIdleConnections = ignore;
    // Without a listener a failed accept(2) would end the process.
    this.#port.on('error', (error) => logConnection('%s', error.message));
  }

  async listen(options: ListenOptions): Promise<void> {
    const listening = once(this.#port, 'listening');
    this.#port.listen(options);
    await listening;
    const intervalMs = Math.min(LONGEST_LOOK_MS, Math.max(SHORTEST_LOOK_MS, shortestTime(this.#limits) / 4));
    this.#looking = setInterval(() => this.#look(), intervalMs).unref();
  }

  address(): AddressInfo | string | null {
    return this.#port.address();
  }

  stats(): ServerStats {
    const connections = { unknown: 0, http1: 0, http2: 0 };
    let openStreams = 0;
    for (const connection of this.#connections.values()) {
      connections[connection.protocol]++;
      if (connection instanceof Http2Connection) openStreams += connection.streams;
    }
    return { connections, openStreams, ...structuredClone({ ...this.#shares.totals }) };
  }

  async close({ timeoutMs = DRAIN_MS }: { readonly timeoutMs?: number } = {}): Promise<void> {
    if (!this.#port.listening) return;
    this.#isDraining = true;
    const before = [...this.#connections];
    for (const [, connection] of before) connection.retire();
    const deadline = performance.now() + timeoutMs;
    const isBefore = (left: () => boolean): boolean => performance.now() < deadline && left();
    while (isBefore(() => before.some(([socket]) => this.#connections.has(socket)))) await this.#letGo();
    const closed = once(this.#port, 'close');
    this.#port.close();
    for (const connection of this.#connections.values()) connection.retire();
    while (isBefore(() => this.#connections.size > 0)) await this.#letGo();
    for (const connection of this.#connections.values()) connection.destroy();
    for (const socket of this.#rawSockets) socket.destroy();
    await closed;
    clearInterval(this.#looking);
  }

  /** A moment in which connections end that have nothing left to do. */
  async #letGo(): Promise<void> {
    this.#look();
    await setTimeoutAsync(DRAIN_LOOK_MS);
  }

  #keepRaw(socket: Socket): void {
    this.#rawSockets.add(socket);
    socket.on('close', () => this.#rawSockets.delete(socket));
  }

  #acceptPlain(socket: Socket): void {
    const { prefaceTimeoutMs } = this.#limits;
    this.#keep(socket, new UnknownConnection(socket, this.#shares.totals, performance.now() + prefaceTimeoutMs));
    onProtocol(socket, (protocol, seen) => this.#begin(socket, protocol, seen));
  }

  #acceptSecure(socket: TLSSocket): void {
    this.#keep(socket, new UnknownConnection(socket, this.#shares.totals, Number.POSITIVE_INFINITY));
    this.#begin(socket, socket.alpnProtocol === 'h2' ? 'http2' : 'http1');
  }

  #keep(socket: Socket, connection: LiveConnection): void {
    this.#connections.set(socket, connection);
    socket.on('error', ignore).on('close', () => this.#connections.delete(socket));
  }

  /** Hands a connection on, with what has been read of it. */
  #begin(socket: Socket, protocol: Protocol, seen?: Buffer): void {
    if (protocol === 'http1') {
      this.#connections.set(socket, new Http1Connection(socket, this.#limits, this.#shares.totals, this.#expiry()));
      this.#http1(socket);
      if (socket instanceof TLSSocket) readThroughStream(socket);
      // To the parser that listens now: cheaper than back into the socket, and out of it again.
      if (seen !== undefined) socket.emit('data', seen);
    } else if (protocol === 'http2') {
      // Emitted while the server takes the connection.
      this.#http2.once('session', (session: ServerHttp2Session) => {
        const connection = new Http2Connection(session, socket, this.#shares, this.#expiry());
        this.#connections.set(socket, connection);
        if (this.#isDraining) connection.retire();
      });
      socket.allowHalfOpen = false; // as in a server of node:http2
      // Node's session takes what is in the socket when it begins.
      if (seen !== undefined) socket.pause().unshift(seen);
      this.#http2.emit('connection', socket);
    } else {
      this.#shares.totals.cutOff.preface++;
      logConnection(protocol === 'tls' ? 'TLS on a plain port' : 'neither HTTP/1.1 nor HTTP/2');
      socket.destroy();
    }
  }

  /** Whether a request of HTTP/1.1 may pass; answers it if not. */
  #admits(request: IncomingMessage, response: ServerResponse): boolean {
    const connection = this.#connections.get(request.socket);
    if (connection instanceof Http1Connection) connection.response = response;
    const isTooMuch = request.rawHeaders.length > 2 * this.#limits.maxHeaders;
    const isLast = isTooMuch || this.#isDraining || connection?.isRetiring;
    if (isLast) response.setHeader('connection', 'close');
    if (isTooMuch) answerError(new Http1Exchange(request, response), 431);
    return !isTooMuch;
  }

  #expiry(): number {
    // Jitter: clients that came together do not come back together.
    return performance.now() + this.#limits.maxAgeMs * (0.9 + 0.2 * Math.random());
  }

  #look(): void {
    const now = performance.now();
    for (const connection of this.#connections.values()) connection.check(now);
  }
}

/**
 * Node's parser takes what a TLS socket has decrypted past what pauses it: when a request comes in two records of one read,
 * head and body, while the answer before it is still being written, the connection ends (HPE_PAUSED, Node 20 to 26). Once
 * somebody has asked for the socket's data it goes through the stream, which waits.
 */
function readThroughStream(socket: TLSSocket): void {
  socket.on('data', ignore).off('data', ignore);
}

function http1Options(limits: Limits): Http1Options {
  return {
    maxHeaderSize: limits.maxHeaderBytes,
    headersTimeout: limits.headersTimeoutMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    // Uploads take as long as they take.
    requestTimeout: 0,
    connectionsCheckingInterval: Math.max(SHORTEST_LOOK_MS, Math.min(LONGEST_LOOK_MS, limits.headersTimeoutMs / 4)),
  };
}

function http2Options(limits: Limits): Http2Options {
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

function tlsOptions(limits: Limits): TlsOptions {
  return { ALPNProtocols: ['h2', 'http/1.1'], handshakeTimeout: limits.prefaceTimeoutMs };
}

function shortestTime(limits: Limits): number {
  const times = Object.entries(limits).filter(([name]) => name.endsWith('Ms'));
  return Math.min(...times.map(([, value]) => value));
}

function ignore(): void {}
