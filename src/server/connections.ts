import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { afterHttp2Read } from '../util/after-http2-read.js';
import { currentLimit, type Limit } from '../util/limit.js';
import { ConnectionsByAddress } from './connections-by-address.js';
import { logConnection } from './log.js';
import type { ServerConnection } from './server-connection.js';
import type { ConnectionTotals } from './stats.js';

/**
 * Connections of a server. Limits their number: a new one takes the place of an idle one, or else of one whose client keeps
 * the server waiting, first of the address with the most connections.
 */
export class Connections {
  readonly #max: Limit;
  readonly #totals: ConnectionTotals;
  /** Every TCP socket, also below TLS. */
  readonly #sockets = new Set<Socket>();
  readonly #connections = new Map<Socket, ServerConnection>();
  readonly #byAddress = new ConnectionsByAddress();
  /** TCP sockets whose TLS handshake is in progress, by the address of the client. */
  readonly #handshakes = new Map<string, Socket>();

  constructor(max: Limit, totals: ConnectionTotals) {
    this.#max = max;
    this.#totals = totals;
  }

  /** Maximum number of connections. */
  get max(): number {
    return currentLimit(this.#max);
  }

  get size(): number {
    return this.#connections.size;
  }

  /** Returns the sockets and connections at this moment. */
  entries(): [Socket, ServerConnection][] {
    return [...this.#connections];
  }

  values(): Iterable<ServerConnection> {
    return this.#connections.values();
  }

  has(socket: Socket): boolean {
    return this.#connections.has(socket);
  }

  get(socket: Socket): ServerConnection | undefined {
    return this.#connections.get(socket);
  }

  /**
   * Counts a TCP socket that was accepted. Above the limit, closes another connection for it. If all are busy, closes the
   * new socket and returns `false`.
   */
  admit(socket: Socket): boolean {
    if (this.#sockets.size >= this.max && !this.#evict()) {
      this.#totals.refused++;
      logConnection('connection refused: all %d are busy (maxConnections)', this.max);
      socket.destroy();
      return false;
    }
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    return true;
  }

  /** Tracks the connection of a new socket. */
  add(socket: Socket, connection: ServerConnection): void {
    this.replace(socket, connection);
    socket.on('error', ignore).on('close', () => this.#delete(socket));
  }

  /** Replaces the connection of a tracked socket. */
  replace(socket: Socket, connection: ServerConnection): void {
    this.#connections.set(socket, connection);
    this.#byAddress.set(socket, connection);
  }

  /**
   * Replaces the connection of a tracked TCP socket, and tracks it until {@link endHandshake}. Over a Unix socket, a connection is
   * not tracked during the handshake: it counts towards the limit, but no other connection can take its place until the handshake
   * times out.
   */
  beginHandshake(socket: Socket, connection: ServerConnection): void {
    const address = addressOf(socket);
    // Without an address, as over a Unix socket, the end of the handshake could not be assigned.
    if (address === undefined) {
      this.#delete(socket);
      return;
    }
    this.#handshakes.set(address, socket);
    this.replace(socket, connection);
    socket.on('close', () => this.#handshakes.delete(address));
  }

  /** Ends the tracking of the TCP socket below `socket`, which does not refer to it. */
  endHandshake(socket: TLSSocket): void {
    const address = addressOf(socket) ?? '';
    const below = this.#handshakes.get(address);
    if (below === undefined) return;
    this.#handshakes.delete(address);
    this.#delete(below);
  }

  /** Enforces the time limits of all connections. */
  check(now: number): void {
    for (const [socket, connection] of this.#connections) if (connection.check(now)) this.#byAddress.touch(socket);
  }

  destroy(): void {
    for (const connection of this.#connections.values()) connection.destroy();
    // After the sessions, so that their last GOAWAY is sent.
    afterHttp2Read(() => {
      for (const socket of this.#sockets) socket.destroy();
    });
  }

  /** Closes a connection for another one. Returns `false` if all are busy. */
  #evict(): boolean {
    const connection = this.#byAddress.leastUsed();
    if (connection === undefined) return false;
    this.#totals.terminated.evicted++;
    logConnection('%s connection closed: %d are open (maxConnections)', connection.protocol, this.max);
    connection.evict();
    return true;
  }

  #delete(socket: Socket): void {
    this.#connections.delete(socket);
    this.#byAddress.delete(socket);
  }
}

function addressOf({ remoteAddress, remotePort }: Socket): string | undefined {
  return remotePort === undefined ? undefined : `${remoteAddress} ${remotePort}`;
}

function ignore(): void {}
