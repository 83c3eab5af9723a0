import { once } from 'node:events';
import {
  createServer as createHttp1Server,
  type Server as Http1Server,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttp2Server, type Http2Server, type ServerHttp2Session } from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo, ListenOptions, Socket } from 'node:net';
import { setTimeout as setTimeoutAsync } from 'node:timers/promises';
import {
  createSecureContext,
  type SecureContextOptions,
  TLSSocket,
  type TlsOptions,
  Server as TlsServer,
} from 'node:tls';
import { continueOnRead } from '../adapters/continue-on-read.js';
import { Http1Exchange } from '../adapters/http1-exchange.js';
import { invalidOption } from '../contract/validation.js';
import type { ExchangeHandler } from '../handler/handler.js';
import { answerError } from '../handler/reply.js';
import type { CacheServer, CloseOptions } from './cache-server.js';
import { Connections } from './connections.js';
import { hasInvalidHost } from './host-field.js';
import { Http1Connection } from './http1-connection.js';
import { Http2Connection, type Http2Context } from './http2-connection.js';
import { listenersOf, type RequestListener } from './listeners.js';
import { logConnection } from './log.js';
import { checkIntervalMs, http1Options, http2Options, tlsOptions } from './node-options.js';
import {
  assertListener,
  assertPem,
  type Limits,
  type ServerOptions,
  type ServerSettings,
  serverSettingsOf,
} from './options.js';
import { beginsHttp, detectProtocol, type WireProtocol, wireProtocolOf } from './preface.js';
import { UploadBudget } from './receive-windows.js';
import { withCertificate } from './renewed-certificate.js';
import { ConnectionTotals, type ServerStats } from './stats.js';
import { UnknownConnection } from './unknown-connection.js';
import { answerWrongScheme } from './wrong-scheme.js';

/** Interval between checks of the connections while the server closes. */
const DRAIN_CHECK_MS = 50;
const DEFAULT_DRAIN_TIMEOUT_MS = 30_000;

/**
 * Creates a server that speaks HTTP/1.1 and HTTP/2 on one port. On a plain port, the server detects the protocol by the
 * first bytes of the client (RFC 9113, 3.3). With TLS, ALPN selects the protocol.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 */
export function createServer(listener: RequestListener | ExchangeHandler, options: ServerOptions = {}): CacheServer {
  assertListener(listener);
  return new DualProtocolServer(listener, serverSettingsOf(options));
}

class DualProtocolServer implements CacheServer {
  readonly #limits: Limits;
  readonly #tls: TlsOptions | undefined;
  readonly #context: Http2Context;
  /**
   * Server that accepts all connections. Its own listeners are called through `#acceptHttp1`, which parses HTTP/1.1, and
   * `#acceptTls`, which begins a handshake.
   */
  readonly #http1: Http1Server;
  readonly #acceptHttp1: (socket: Socket) => void;
  readonly #acceptTls: (socket: Socket) => void = ignore;
  /** Server for HTTP/2. It never listens on a port; HTTP/2 connections are passed to it. */
  readonly #http2: Http2Server;
  readonly #connections: Connections;
  #checkTimer: NodeJS.Timeout | undefined;
  #isDraining = false;
  /** Result of `close` while the server drains. */
  #closing: Promise<void> | undefined;
  #deadline = Number.POSITIVE_INFINITY;

  constructor(
    listener: RequestListener | ExchangeHandler,
    { tls, handler, maxConnections, memory, limits }: ServerSettings,
  ) {
    this.#limits = limits;
    this.#tls = tls;
    this.#context = { limits, budget: new UploadBudget(memory, limits), totals: new ConnectionTotals() };
    this.#connections = new Connections(maxConnections, this.#context.totals);
    const listeners = listenersOf(listener, handler);
    this.#http2 = createHttp2Server(http2Options(limits));
    listeners.addTo(this.#http2);
    const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
      if (this.#admit(request, response)) listeners.http1(request, response);
    };
    const options = http1Options(limits);
    this.#http1 =
      tls === undefined
        ? createHttp1Server(options, onRequest)
        : createHttpsServer({ ...tls, ...tlsOptions(limits), ...options }, onRequest);
    this.#http1.on('checkContinue', continueOnRead);
    this.#http1.maxHeadersCount = limits.maxHeaders + 1; // one more than allowed, so that #admit sees the excess
    if (tls === undefined) {
      this.#acceptHttp1 = takeListeners(this.#http1, 'connection');
      this.#http1.on('connection', (socket) => this.#acceptPlain(socket));
    } else {
      this.#acceptTls = takeListeners(this.#http1, 'connection');
      this.#acceptHttp1 = takeListeners(this.#http1, 'secureConnection');
      this.#http1.on('connection', (socket) => this.#acceptHandshake(socket));
      this.#http1.on('secureConnection', (socket: TLSSocket) => this.#acceptSecure(socket));
      this.#http1.on('tlsClientError', (error: Error) => logConnection('TLS error: %s', error.message));
    }
    // Server.close() calls this method, which would destroy connections whose responses are still being sent.
    // `Http1Connection` detects idle connections instead.
    this.#http1.closeIdleConnections = ignore;
    // Without a listener, a failed accept(2) would end the process.
    this.#http1.on('error', (error) => logConnection('server error: %s', error.message));
  }

  async listen(options: ListenOptions): Promise<void> {
    const listening = once(this.#http1, 'listening');
    this.#http1.listen(options);
    await listening;
    this.#checkTimer = setInterval(
      () => this.#connections.check(performance.now()),
      checkIntervalMs(this.#limits),
    ).unref();
  }

  address(): AddressInfo | string | null {
    return this.#http1.address();
  }

  stats(): ServerStats {
    const connections = { unknown: 0, http1: 0, http2: 0 };
    let openStreams = 0;
    for (const connection of this.#connections.values()) {
      connections[connection.protocol]++;
      if (connection instanceof Http2Connection) openStreams += connection.streams;
    }
    return {
      connections,
      maxConnections: this.#connections.max,
      openStreams,
      ...structuredClone({ ...this.#context.totals }),
    };
  }

  setSecureContext(options: SecureContextOptions): void {
    if (!(this.#http1 instanceof TlsServer)) {
      throw invalidOption('tls', 'a server with the option tls for setSecureContext()', undefined);
    }
    assertPem(options);
    const merged = withCertificate(this.#tls, options);
    createSecureContext(merged); // throws before the server has changed
    this.#http1.setSecureContext(merged);
  }

  async close({ timeoutMs = DEFAULT_DRAIN_TIMEOUT_MS, stopListening = false }: CloseOptions = {}): Promise<void> {
    if (this.#closing === undefined && !this.#http1.listening) return;
    this.#deadline = Math.min(this.#deadline, performance.now() + timeoutMs);
    this.#closing ??= this.#drain().finally(() => {
      this.#closing = undefined;
      this.#deadline = Number.POSITIVE_INFINITY;
    });
    if (stopListening && this.#http1.listening) this.#http1.close();
    await this.#closing;
  }

  /** Closes the connections when their requests are complete, or at `#deadline`. */
  async #drain(): Promise<void> {
    this.#isDraining = true;
    const closed = once(this.#http1, 'close');
    const existing = this.#connections.entries();
    for (const [, connection] of existing) connection.drain();
    const waitWhile = async (isOpen: () => boolean): Promise<void> => {
      while (performance.now() < this.#deadline && isOpen()) {
        this.#connections.check(performance.now());
        await setTimeoutAsync(DRAIN_CHECK_MS);
      }
    };
    await waitWhile(() => existing.some(([socket]) => this.#connections.has(socket)));
    if (this.#http1.listening) this.#http1.close();
    for (const connection of this.#connections.values()) connection.drain();
    await waitWhile(() => this.#connections.size > 0);
    this.#connections.destroy();
    await closed;
    clearInterval(this.#checkTimer);
  }

  /** Tracks a new TCP socket until `detect` recognises its first bytes, and then calls `callback`. */
  #accept<T>(
    socket: Socket,
    detect: (bytes: Uint8Array) => T | undefined,
    callback: (detected: T, received: Buffer) => void,
  ) {
    if (!this.#connections.admit(socket)) return;
    const deadline = performance.now() + this.#limits.prefaceTimeoutMs;
    this.#connections.add(socket, new UnknownConnection(socket, this.#context.totals, deadline));
    detectProtocol(socket, detect, callback);
  }

  #acceptPlain(socket: Socket): void {
    this.#accept(socket, wireProtocolOf, (protocol, received) => {
      if (protocol === 'tls') this.#refuseScheme(socket, 'http');
      else this.#begin(socket, protocol, received);
    });
  }

  #acceptHandshake(socket: Socket): void {
    this.#accept(socket, beginsHttp, (isHttp, received) => {
      if (isHttp) {
        this.#refuseScheme(socket, 'https');
        return;
      }
      this.#connections.beginHandshake(socket, this.#withoutDeadline(socket)); // Node limits the time of the handshake
      // A new TLS socket first reads the bytes that are buffered in the TCP socket.
      socket.pause().unshift(received);
      this.#acceptTls(socket);
    });
  }

  #acceptSecure(socket: TLSSocket): void {
    this.#connections.endHandshake(socket);
    // In a renegotiation, a client could replace its certificate by one that nobody has verified.
    if (this.#tls?.requestCert) socket.disableRenegotiation();
    this.#connections.add(socket, this.#withoutDeadline(socket));
    this.#begin(socket, socket.alpnProtocol === 'h2' ? 'http2' : 'http1');
  }

  #withoutDeadline(socket: Socket): UnknownConnection {
    return new UnknownConnection(socket, this.#context.totals, Number.POSITIVE_INFINITY);
  }

  #refuseScheme(socket: Socket, expected: 'http' | 'https'): void {
    this.#context.totals.terminated.preface++;
    this.#connections.replace(socket, this.#withoutDeadline(socket)); // the response has a time limit of its own
    answerWrongScheme(socket, expected);
  }

  /**
   * Passes a connection to Node's HTTP/1.1 or HTTP/2 implementation.
   *
   * @param received bytes that were read to detect the protocol
   */
  #begin(socket: Socket, protocol: Exclude<WireProtocol, 'tls'>, received?: Buffer): void {
    if (protocol === 'http1') {
      const { totals } = this.#context;
      this.#connections.replace(socket, new Http1Connection(socket, this.#limits, totals, this.#expiresAt()));
      this.#acceptHttp1(socket);
      if (socket instanceof TLSSocket) forceStreamReads(socket);
      // The bytes are passed directly to the parser's 'data' listener, which is cheaper than unshift() and another
      // read.
      if (received !== undefined) socket.emit('data', received);
    } else if (protocol === 'http2') {
      // Node emits 'session' synchronously during the 'connection' event below.
      this.#http2.once('session', (session: ServerHttp2Session) => {
        const connection = new Http2Connection(session, socket, this.#context, this.#expiresAt());
        this.#connections.replace(socket, connection);
        if (this.#isDraining) connection.drain();
      });
      socket.allowHalfOpen = false; // as on a server of node:http2
      // A new session first reads the bytes that are buffered in the socket.
      if (received !== undefined) socket.pause().unshift(received);
      this.#http2.emit('connection', socket);
    } else {
      this.#context.totals.terminated.preface++;
      logConnection('connection destroyed: neither HTTP/1.1 nor HTTP/2');
      socket.destroy();
    }
  }

  /** Returns `true` if an HTTP/1.1 request may be handled. Otherwise responds with 400 or 431. */
  #admit(request: IncomingMessage, response: ServerResponse): boolean {
    const connection = this.#connections.get(request.socket);
    if (connection instanceof Http1Connection) connection.response = response;
    const hasTooManyHeaders = request.rawHeaders.length > 2 * this.#limits.maxHeaders;
    const refusal = hasTooManyHeaders ? 431 : hasInvalidHost(request) ? 400 : undefined;
    const isLast = refusal !== undefined || this.#isDraining || connection?.isDraining;
    if (isLast) response.setHeader('connection', 'close');
    if (refusal !== undefined) answerError(new Http1Exchange(request, response), refusal);
    return refusal === undefined;
  }

  #expiresAt(): number {
    // The age varies at random, so that clients that connected at the same time do not reconnect at the same time.
    return performance.now() + this.#limits.maxAgeMs * (0.9 + 0.2 * Math.random());
  }
}

/** Removes the listeners of an event, and returns a function that calls them. */
function takeListeners(server: Http1Server, event: string): (socket: Socket) => void {
  const listeners = server.listeners(event);
  server.removeAllListeners(event);
  return (socket) => {
    for (const listener of listeners) listener.call(server, socket);
  };
}

/**
 * Makes a TLS socket deliver its data through the stream, which respects pause(). By default, Node's HTTP/1.1 parser
 * takes decrypted data directly from the socket, even if the socket is paused. This can end a connection with
 * HPE_PAUSED (Node 20 to 26): while the previous response is being written, the headers and the body of an upload
 * arrive in two TLS records of one read. A 'data' listener disables this shortcut permanently.
 */
function forceStreamReads(socket: TLSSocket): void {
  socket.on('data', ignore).off('data', ignore);
}

function ignore(): void {}
