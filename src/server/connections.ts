import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { isLoopbackAddress } from '../access/hosts.js';
import { logConnection } from './log.js';
import type { ServerConnection } from './server-connection.js';
import type { ConnectionTotals } from './stats.js';

/** Number of connections that are examined to find an idle one, so that the search stays short. */
const MAX_EXAMINED = 1000;

/** Time for which a server must have waited for a client before its connection is closed for another one. */
const MIN_WAIT_MS = 5000;

/**
 * Connections of a server. Limits their number: a new one takes the place of an idle one, or else of one whose client keeps
 * the server waiting. Of these, it is the one that has been idle or waiting for longest among those of the address with the
 * most connections. Loopback addresses count as one connection, because a proxy on this host has those of all clients.
 */
export class Connections {
  readonly max: number;
  readonly #totals: ConnectionTotals;
  /** Every TCP socket, also below TLS. */
  readonly #sockets = new Set<Socket>();
  /** Number of TCP sockets by address of the client. */
  readonly #counts = new Map<string, number>();
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
    const { remoteAddress = '' } = socket; // a closed socket has no address
    this.#count(remoteAddress, 1);
    socket.on('close', () => {
      this.#sockets.delete(socket);
      this.#count(remoteAddress, -1);
    });
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

  /**
   * Tracks a TCP socket until {@link endHandshake}. Over a Unix socket, a connection is not tracked before the end of the
   * handshake: it counts towards the limit, but no other connection can take its place until the handshake times out.
   */
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

  /** Returns the connection to close for another one; undefined if all are busy. */
  #leastUsed(): ServerConnection | undefined {
    let examined = 0;
    let best: Candidate | undefined;
    const latest = performance.now() - MIN_WAIT_MS;
    for (const [socket, connection] of this.#connections) {
      // Connections are ordered by their last use, so the first of several idle ones has been idle for longest.
      const since = connection.isIdle ? Number.NEGATIVE_INFINITY : connection.waitingSince;
      if (since !== undefined && since < latest) {
        const candidate = { connection, since, share: this.#shareOf(socket) };
        if (best === undefined || isBetter(candidate, best)) best = candidate;
      }
      if (++examined === MAX_EXAMINED) break;
    }
    return best?.connection;
  }

  #shareOf({ remoteAddress = '' }: Socket): number {
    return isLoopbackAddress(remoteAddress) ? 1 : (this.#counts.get(remoteAddress) ?? 1);
  }

  #count(address: string, change: 1 | -1): void {
    const count = (this.#counts.get(address) ?? 0) + change;
    if (count === 0) this.#counts.delete(address);
    else this.#counts.set(address, count);
  }
}

/** Connection that can be closed for another one. */
interface Candidate {
  readonly connection: ServerConnection;
  /** Time since which it waits for its client; -Infinity if it is idle. */
  readonly since: number;
  /** Number of connections of its address. */
  readonly share: number;
}

function isBetter(a: Candidate, b: Candidate): boolean {
  const [isIdle, wasIdle] = [a.since, b.since].map((since) => since === Number.NEGATIVE_INFINITY);
  if (isIdle !== wasIdle) return isIdle === true;
  return a.share === b.share ? a.since < b.since : a.share > b.share;
}

function addressOf({ remoteAddress, remotePort }: Socket): string | undefined {
  return remotePort === undefined ? undefined : `${remoteAddress} ${remotePort}`;
}

function ignore(): void {}
