import { once } from 'node:events';
import net, { type AddressInfo, type Socket } from 'node:net';

const MIB = 1024 * 1024;

export interface DelayProxyOptions {
  /** Port on 127.0.0.1 that the proxy connects to. */
  readonly port: number;
  /** Round-trip time. Each direction delays bytes by half of it. */
  readonly roundTripMs: number;
  /**
   * Maximum number of unacknowledged bytes in each direction. Together with the round-trip time it limits the throughput:
   * 3 MiB per 50 ms are 63 MB/s. Default: 3 MiB, the largest receive window of Linux by default (half of the 6 MiB of
   * net.ipv4.tcp_rmem; the other half is overhead, see net.ipv4.tcp_adv_win_scale).
   */
  readonly maxBytesInFlight?: number;
}

/** TCP proxy that adds latency between a client and a server. */
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
        // A reset is forwarded without delay, because no test measures it.
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
    // A server that listens on a port has an AddressInfo.
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}

/** Bytes that are due at a time. `undefined` is the end of the stream. */
interface Chunk {
  readonly at: number;
  readonly bytes: Buffer | undefined;
}

/** One direction of a connection. Bytes reach `to` after `delayMs` and are acknowledged after another `delayMs`. */
class Delay {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #delayMs: number;
  readonly #maxBytes: number;
  #arriving: Chunk[] = [];
  #acknowledged: Chunk[] = [];
  #bytes = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(from: Socket, to: Socket, delayMs: number, maxBytes: number) {
    this.#from = from;
    this.#to = to;
    this.#delayMs = delayMs;
    this.#maxBytes = maxBytes;
    from.on('data', (bytes: Buffer) => this.#enqueue(bytes));
    from.on('end', () => this.#enqueue(undefined));
    to.on('drain', () => this.#deliver());
    to.on('close', () => clearTimeout(this.#timer));
  }

  #enqueue(bytes: Buffer | undefined): void {
    this.#arriving.push({ at: performance.now() + this.#delayMs, bytes });
    this.#bytes += bytes?.byteLength ?? 0;
    if (this.#bytes >= this.#maxBytes) this.#from.pause();
    if (this.#timer === undefined) this.#schedule();
  }

  #deliver(): void {
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
    this.#schedule();
  }

  /** Schedules the next delivery or acknowledgement. If `to` is full, its 'drain' event triggers the delivery. */
  #schedule(): void {
    const arrival = this.#to.writableNeedDrain ? undefined : this.#arriving[0];
    const next = Math.min(arrival?.at ?? Infinity, this.#acknowledged[0]?.at ?? Infinity);
    if (next < Infinity) this.#timer = setTimeout(() => this.#deliver(), Math.max(0, next - performance.now()));
  }
}
