import type { Socket } from 'node:net';
import { isLoopbackAddress } from '../access/hosts.js';
import type { ServerConnection } from './server-connection.js';

/**
 * Number of connections that are examined to find one to close, so that the search stays short: as many of the largest addresses
 * as of the longest unused connections.
 */
const MAX_EXAMINED = 128;
/** As many of one address: the others are in use more recently, so they are rarely idle if these are not. */
const MAX_EXAMINED_OF_ADDRESS = 16;
/** Time for which a server must have waited for a client before its connection is closed for another one. */
const MIN_WAIT_MS = 5000;

/** Connections of one address, ordered by the check at which a connection was last in use. */
interface Group {
  readonly address: string;
  readonly connections: Map<Socket, ServerConnection>;
}

/**
 * Connections of a server by the address of the client. Each loopback connection counts as an address of its own, because a
 * proxy on this host has the connections of all clients.
 */
export class ConnectionsByAddress {
  readonly #groups = new Map<string, Group>();
  /** Ordered by the check at which a connection was last in use. */
  readonly #groupOf = new Map<Socket, Group>();
  /** Groups by their number of connections. Groups of one size are ordered like the connections of a group. */
  readonly #bySize = new Map<number, Set<Group>>();

  /** Adds a connection, or replaces that of the same socket. */
  set(socket: Socket, connection: ServerConnection): void {
    const known = this.#groupOf.get(socket);
    if (known !== undefined) {
      known.connections.set(socket, connection);
      return;
    }
    const { remoteAddress: address = '' } = socket; // a closed socket has no address
    const group = this.#groups.get(address) ?? { address, connections: new Map() };
    if (!isLoopbackAddress(address)) this.#groups.set(address, group);
    this.#unlink(group);
    group.connections.set(socket, connection);
    this.#link(group);
    this.#groupOf.set(socket, group);
  }

  delete(socket: Socket): void {
    const group = this.#groupOf.get(socket);
    if (group === undefined) return;
    this.#groupOf.delete(socket);
    this.#unlink(group);
    group.connections.delete(socket);
    if (group.connections.size > 0) this.#link(group);
    else this.#groups.delete(group.address);
  }

  /** Records that a connection was in use. */
  touch(socket: Socket): void {
    const group = this.#groupOf.get(socket);
    const connection = group?.connections.get(socket);
    if (group === undefined || connection === undefined) return;
    group.connections.delete(socket);
    group.connections.set(socket, connection);
    this.#groupOf.delete(socket);
    this.#groupOf.set(socket, group);
    const groups = this.#bySize.get(group.connections.size);
    groups?.delete(group);
    groups?.add(group);
  }

  /**
   * Returns the connection to close for another one: an idle connection or, if none is idle, a connection whose client keeps the
   * server waiting. Of the address with the most connections, it is the connection that has been idle or waiting longest. If
   * the connections of the largest addresses are busy, it is a connection that has been unused longest. Returns `undefined` if
   * all are busy.
   */
  leastUsed(): ServerConnection | undefined {
    let waiting: { readonly connection: ServerConnection; readonly since: number; readonly size: number } | undefined;
    const latest = performance.now() - MIN_WAIT_MS;
    for (const [size, connection] of this.#candidates()) {
      if (connection.isIdle) return connection;
      const since = connection.waitingSince ?? latest;
      if (since < latest && (waiting === undefined || (size === waiting.size && since < waiting.since))) {
        waiting = { connection, since, size };
      }
    }
    return waiting?.connection;
  }

  *#candidates(): Generator<readonly [size: number, connection: ServerConnection]> {
    let rest = MAX_EXAMINED;
    for (const [size, { connections }] of this.#largestFirst()) {
      for (const connection of first(connections.values(), Math.min(rest, MAX_EXAMINED_OF_ADDRESS))) {
        rest--;
        yield [size, connection];
      }
      if (rest === 0) break;
    }
    for (const [socket, { connections }] of first(this.#groupOf, MAX_EXAMINED)) {
      const connection = connections.get(socket);
      if (connection !== undefined) yield [connections.size, connection];
    }
  }

  *#largestFirst(): Generator<readonly [size: number, group: Group]> {
    // There are few sizes: the sum of all is the number of connections.
    const sizes = [...this.#bySize].sort(([a], [b]) => b - a);
    for (const [size, groups] of sizes) for (const group of groups) yield [size, group];
  }

  #link(group: Group): void {
    const { size } = group.connections;
    const groups = this.#bySize.get(size);
    if (groups === undefined) this.#bySize.set(size, new Set([group]));
    else groups.add(group);
  }

  #unlink(group: Group): void {
    const { size } = group.connections;
    const groups = this.#bySize.get(size);
    groups?.delete(group);
    if (groups?.size === 0) this.#bySize.delete(size);
  }
}

/** Yields the first `count` items. */
function* first<T>(items: Iterable<T>, count: number): Generator<T> {
  let rest = count;
  for (const item of items) {
    if (rest-- === 0) return;
    yield item;
  }
}
