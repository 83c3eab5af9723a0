import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { logConnection } from './log.js';
import type { ServerConnection } from './server-connection.js';
import type { ConnectionTotals } from './stats.js';

/** Number of connections that are examined to find an idle one, so that the search stays short. */
const MAX_EXAMINED = 1000;

/** Time for which a server must have waited for a client before its connection is closed for another one. */
const MIN_WAIT_MS = 5000;

/**
 * Connections of a server. Limits their number: a new one takes the place of the one that has been idle for longest, or of
 * the one whose client has kept the server waiting for longest.
 */
export class Connections {
  readonly max: number;
  readonly #totals: ConnectionTotals;
  /** Every TCP socket, also below TLS. */
  readonly #sockets = new Set<Socket>();
  /** Ordered by the check at which a connection was last in use. */
  readonly #connections = new Map<Socket, ServerConnection>();
  /** TCP sockets whose TLS handshake is in progress, by the address of the client. */
  readonly #handshakes = new Map<string, Socket>();

  constructor(max: number, totals: ConnectionTotals) {
    this.max = max;
    this.#totals = totals;
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
    this.#connections.set(socket, connection);
    socket.on('error', ignore).on('close', () => this.#connections.delete(socket));
  }

  /** Replaces the connection of a tracked socket. */
  replace(socket: Socket, connection: ServerConnection): void {
    this.#connections.set(socket, connection);
  }

  /** Tracks a TCP socket until {@link endHandshake}. */
  beginHandshake(socket: Socket, connection: ServerConnection): void {
    const address = addressOf(socket);
    // Without an address, as over a Unix socket, the end of the handshake could not be assigned.
    if (address === undefined) return;
    this.#handshakes.set(address, socket);
    this.add(socket, connection);
    socket.on('close', () => this.#handshakes.delete(address));
  }

  /** Ends the tracking of the TCP socket below `socket`, which does not refer to it. */
  endHandshake(socket: TLSSocket): void {
    const address = addressOf(socket) ?? '';
    const below = this.#handshakes.get(address);
    if (below === undefined) return;
    this.#handshakes.delete(address);
    this.#connections.delete(below);
  }

  /** Enforces the time limits of all connections. */
  check(now: number): void {
    const used: [Socket, ServerConnection][] = [];
    for (const entry of this.#connections) if (entry[1].check(now)) used.push(entry);
    for (const [socket, connection] of used) {
      if (!this.#connections.delete(socket)) continue;
      this.#connections.set(socket, connection);
    }
  }

  destroy(): void {
    for (const connection of this.#connections.values()) connection.destroy();
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Closes a connection for another one. Returns `false` if all are busy. */
  #evict(): boolean {
    const connection = this.#leastUsed();
    if (connection === undefined) return false;
    this.#totals.terminated.evicted++;
    logConnection('%s connection closed: %d are open (maxConnections)', connection.protocol, this.max);
    connection.evict();
    return true;
  }

  /** Returns the connection that has been idle for longest, or else the one that has waited for its client for longest. */
  #leastUsed(): ServerConnection | undefined {
    let examined = 0;
    let slowest: ServerConnection | undefined;
    let waitingSince = performance.now() - MIN_WAIT_MS;
    for (const connection of this.#connections.values()) {
      if (connection.isIdle) return connection;
      const since = connection.waitingSince;
      if (since !== undefined && since < waitingSince) {
        waitingSince = since;
        slowest = connection;
      }
      if (++examined === MAX_EXAMINED) break;
    }
    return slowest;
  }
}

function addressOf({ remoteAddress, remotePort }: Socket): string | undefined {
  return remotePort === undefined ? undefined : `${remoteAddress} ${remotePort}`;
}

function ignore(): void {}
