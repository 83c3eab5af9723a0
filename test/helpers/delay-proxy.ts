import { once } from 'node:events';
import net, { type AddressInfo, type Socket } from 'node:net';

const MIB = 1024 * 1024;

export interface DelayProxyOptions {
  /** Where it connects to, on this machine. */
  readonly port: number;
  /** From a byte to the answer to it. Half of it is spent each way. */
  readonly roundTripMs: number;
  /**
   * How many bytes may be without an acknowledgement, each way, as TCP counts them. With the round trip this is all that a
   * connection can carry: 3 MiB in 50 ms are 63 MB/s. Default: 3 MiB, the largest window that Linux has long offered
   * (net.ipv4.tcp_rmem of 6 MiB, half of it for overhead: net.ipv4.tcp_adv_win_scale).
   */
  readonly maxBytesInFlight?: number;
}

/** A long way between a client and a server, on one machine. */
export class DelayProxy {
  readonly #server: net.Server;
  readonly #sockets = new Set<Socket>();

  static async start(options: DelayProxyOptions): Promise<DelayProxy> {
    const proxy = new DelayProxy(options);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  private constructor({ port, roundTripMs, maxBytesInFlight = 3 * MIB }: DelayProxyOptions) {
    this.#server = net.createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
      const server = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
      for (const [socket, other] of [
        [client, server],
        [server, client],
      ] as const) {
        this.#sockets.add(socket);
        // A way that is cut is cut at both ends, without delay: it is never what is measured.
        socket.on('error', () => other.resetAndDestroy());
        socket.on('close', () => {
          this.#sockets.delete(socket);
          if (!socket.readableEnded) other.resetAndDestroy();
        });
        new Delay(socket, other, roundTripMs / 2, maxBytesInFlight);
      }
    });
  }

  get port(): number {
    // a server that listens on a port has an address of this kind
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}

/** Bytes that are due at one moment; undefined: the end. */
interface Piece {
  readonly at: number;
  readonly bytes: Buffer | undefined;
}

/** One direction: what `from` says reaches `to` after `delayMs`, in order, and is acknowledged after as much again. */
class Delay {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #delayMs: number;
  readonly #maxBytes: number;
  #arriving: Piece[] = [];
  #acknowledged: Piece[] = [];
  #bytes = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(from: Socket, to: Socket, delayMs: number, maxBytes: number) {
    this.#from = from;
    this.#to = to;
    this.#delayMs = delayMs;
    this.#maxBytes = maxBytes;
    from.on('data', (bytes: Buffer) => this.#take(bytes));
    from.on('end', () => this.#take(undefined));
    to.on('drain', () => this.#move());
    to.on('close', () => clearTimeout(this.#timer));
  }

  #take(bytes: Buffer | undefined): void {
    this.#arriving.push({ at: performance.now() + this.#delayMs, bytes });
    this.#bytes += bytes?.byteLength ?? 0;
    if (this.#bytes >= this.#maxBytes) this.#from.pause();
    if (this.#timer === undefined) this.#sleep();
  }

  #move(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#to.destroyed) return;
    const now = performance.now();
    let count = 0;
    for (const { at, bytes } of this.#arriving) {
      if (at > now || this.#to.writableNeedDrain) break;
      count++;
      if (bytes === undefined) this.#to.end();
      else this.#to.write(bytes);
      this.#acknowledged.push({ at: now + this.#delayMs, bytes });
    }
    if (count > 0) this.#arriving = this.#arriving.slice(count);
    count = 0;
    for (const { at, bytes } of this.#acknowledged) {
      if (at > now) break;
      count++;
      this.#bytes -= bytes?.byteLength ?? 0;
    }
    if (count > 0) this.#acknowledged = this.#acknowledged.slice(count);
    if (this.#bytes < this.#maxBytes) this.#from.resume();
    this.#sleep();
  }

  /** Until the next thing is due. A socket that takes no more says itself when it does. */
  #sleep(): void {
    const arrival = this.#to.writableNeedDrain ? undefined : this.#arriving[0];
    const next = Math.min(arrival?.at ?? Infinity, this.#acknowledged[0]?.at ?? Infinity);
    if (next < Infinity) this.#timer = setTimeout(() => this.#move(), Math.max(0, next - performance.now()));
  }
}
