import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { getSystemErrorName } from 'node:util';
import type { PortAddress, PortRequest } from './messages.js';

/** Bound socket. Node passes it to another process, where `listen({ handle })` accepts connections from it. */
export interface BoundSocket {
  getsockname(address: { port?: number }): number;
  listen(backlog: number): number;
  close(): void;
}

type CreateHandle = (
  address: string,
  port: number,
  addressType: 4 | 6,
  fd: undefined,
  flags: number,
) => BoundSocket | number;

/** Flags of uv_tcp_bind(3). */
const IPV6_ONLY = 1;
const REUSE_PORT = 2;

/** Undocumented function with which node:cluster creates its sockets. If it is missing, node:cluster distributes the connections. */
const createHandle = (net as unknown as { readonly _createServerHandle?: CreateHandle })._createServerHandle;

/**
 * Ports on which several processes listen.
 *
 * With SO_REUSEPORT, each process has a socket of its own, and the kernel distributes the connections. The parent creates the
 * sockets and keeps them open. When a process is replaced, connections that it has not accepted yet wait for its successor. If the
 * process had created the socket itself, these connections would be reset when the process closes the socket.
 *
 * Without SO_REUSEPORT, the parent accepts the connections and passes them on, as in every program that uses node:cluster.
 */
export class SharedPorts {
  readonly usesReusePort = supportsReusePort();
  readonly #addresses = new Map<string, Promise<PortAddress>>();
  /** Sockets of each place, by port. */
  readonly #sockets = new Map<number, Map<string, BoundSocket>>();

  /**
   * Resolves to the address of a port, which is the same for all processes.
   *
   * @throws the system error if the port cannot be used
   */
  async reserve(request: PortRequest): Promise<PortAddress> {
    const key = keyOf(request);
    let address = this.#addresses.get(key);
    if (address === undefined) {
      address = findAddress(request);
      this.#addresses.set(key, address);
    }
    try {
      return await address;
    } catch (error) {
      this.#addresses.delete(key); // another attempt may succeed
      throw error;
    }
  }

  /**
   * Returns the socket of a place; `undefined` if node:cluster shares the port.
   *
   * @param place number that a process and its successors have
   * @param target result of {@link reserve}
   * @throws the system error if the socket cannot be bound
   */
  socketOf(place: number, request: PortRequest, target: PortAddress): BoundSocket | undefined {
    if (!this.usesReusePort) return undefined;
    const sockets = this.#sockets.get(place) ?? new Map<string, BoundSocket>();
    this.#sockets.set(place, sockets);
    const key = keyOf(request);
    let socket = sockets.get(key);
    if (socket === undefined) {
      socket = bind(target.address, target.port, request.ipv6Only);
      sockets.set(key, socket);
    }
    return socket;
  }

  /** Closes the sockets of a place, so that the kernel gives new connections to the others. */
  release(place: number): void {
    for (const socket of this.#sockets.get(place)?.values() ?? []) socket.close();
    this.#sockets.delete(place);
  }

  close(): void {
    for (const place of [...this.#sockets.keys()]) this.release(place);
  }
}

function keyOf({ port, host, ipv6Only, free }: PortRequest): string {
  return `${host} ${port} ${ipv6Only} ${free}`;
}

/** Listens for a moment without SO_REUSEPORT. This fails if another program uses the port, and finds a free port for port 0. */
async function findAddress({ port, host, ipv6Only }: PortRequest): Promise<PortAddress> {
  const server = net.createServer();
  const listening = once(server, 'listening');
  server.listen({ port, host, ipv6Only, exclusive: true });
  await listening;
  const found = server.address() as AddressInfo; // an AddressInfo because the server listens on a port
  const closed = once(server, 'close');
  server.close();
  await closed;
  return { port: found.port, address: found.address };
}

function bind(address: string, port: number, ipv6Only = false): BoundSocket {
  const flags = REUSE_PORT | (ipv6Only ? IPV6_ONLY : 0);
  const socket = createHandle?.(address, port, net.isIPv6(address) ? 6 : 4, undefined, flags) ?? 0;
  if (typeof socket === 'number') throw bindError(socket, address, port);
  // libuv reports a port that is in use only after uv_tcp_bind(3).
  const status = socket.getsockname({});
  if (status === 0) return socket;
  socket.close();
  throw bindError(status, address, port);
}

/** Returns whether two sockets can listen on one port. Node supports this since 22.12 and 23.1, but not on every system. */
function supportsReusePort(): boolean {
  if (createHandle === undefined) return false;
  const sockets: BoundSocket[] = [];
  try {
    const first = bind('127.0.0.1', 0);
    sockets.push(first);
    const address: { port?: number } = {};
    first.getsockname(address);
    if (first.listen(1) !== 0) return false;
    // Without SO_REUSEPORT, bind(2) succeeds or fails depending on the system, and listen(2) always fails.
    const second = bind('127.0.0.1', address.port ?? 0);
    sockets.push(second);
    return second.listen(1) === 0;
  } catch {
    return false;
  } finally {
    for (const socket of sockets) socket.close();
  }
}

function bindError(status: number, address: string, port: number): Error {
  const code = getSystemErrorName(status);
  return Object.assign(new Error(`bind ${code} ${address}:${port}`), { code, syscall: 'bind', address, port });
}
