import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

const DATA = 0;
const HEADERS = 1;
const RST_STREAM = 3;
const SETTINGS = 4;
const PING = 6;
const WINDOW_UPDATE = 8;
const ACK = 1;
const END_STREAM_AND_HEADERS = 5;
const INITIAL_WINDOW_SIZE = 4;
const LARGEST_WINDOW = 2 ** 31 - 1;

/** What has come on one stream. */
export interface ReceivedStream {
  readonly chunks: Buffer[];
  /** Ended, or reset. */
  isOver: boolean;
  isReset: boolean;
}

/**
 * A client of HTTP/2 over plain TCP that opens its windows as wide as they go and reads only when told to: what a
 * well-behaved library never does.
 */
export class FramesClient {
  readonly streams = new Map<number, ReceivedStream>();
  readonly #socket: Socket;
  #rest: Buffer = Buffer.alloc(0);
  #lastStream = -1;
  #onStreamOver = () => {};

  static async connect(port: number, streamWindow = LARGEST_WINDOW): Promise<FramesClient> {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    return new FramesClient(socket, streamWindow);
  }

  private constructor(socket: Socket, streamWindow: number) {
    this.#socket = socket;
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    const settings = Buffer.alloc(6);
    settings.writeUInt16BE(INITIAL_WINDOW_SIZE, 0);
    settings.writeUInt32BE(streamWindow, 2);
    this.#send(SETTINGS, 0, 0, settings);
    this.#widen(0, LARGEST_WINDOW - 65535);
  }

  get(path: string): number {
    this.#lastStream += 2;
    const text = Buffer.from(path);
    // :method GET, :scheme http, :path as a literal of at most 126 bytes, :authority x (RFC 7541, appendix A)
    const block = Buffer.concat([Buffer.from([0x82, 0x86, 0x04, text.length]), text, Buffer.from([0x01, 1, 0x78])]);
    this.streams.set(this.#lastStream, { chunks: [], isOver: false, isReset: false });
    this.#send(HEADERS, END_STREAM_AND_HEADERS, this.#lastStream, block);
    return this.#lastStream;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  /** Resolves when all streams asked for have ended or been reset. */
  async allOver(): Promise<void> {
    while ([...this.streams.values()].some(({ isOver }) => !isOver)) {
      await new Promise<void>((resolve) => {
        this.#onStreamOver = resolve;
      });
    }
  }

  #receive(chunk: Buffer): void {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let position = 0;
    while (this.#rest.length - position >= 9) {
      const length = this.#rest.readUIntBE(position, 3);
      if (this.#rest.length - position < 9 + length) break;
      const payload = this.#rest.subarray(position + 9, position + 9 + length);
      this.#frame(
        this.#rest[position + 3] ?? 0,
        this.#rest[position + 4] ?? 0,
        this.#rest.readUInt32BE(position + 5),
        payload,
      );
      position += 9 + length;
    }
    this.#rest = this.#rest.subarray(position);
  }

  #frame(type: number, flags: number, id: number, payload: Buffer): void {
    if (type === SETTINGS && (flags & ACK) === 0) this.#send(SETTINGS, ACK, 0, Buffer.alloc(0));
    if (type === PING && (flags & ACK) === 0) this.#send(PING, ACK, 0, payload);
    const stream = this.streams.get(id);
    if (stream === undefined) return;
    if (type === DATA && payload.length > 0) {
      stream.chunks.push(payload);
      this.#widen(0, payload.length);
    }
    stream.isReset ||= type === RST_STREAM;
    if (type !== RST_STREAM && !((type === DATA || type === HEADERS) && (flags & 1) === 1)) return;
    stream.isOver = true;
    this.#onStreamOver();
  }

  #widen(stream: number, bytes: number): void {
    const increment = Buffer.alloc(4);
    increment.writeUInt32BE(bytes);
    this.#send(WINDOW_UPDATE, 0, stream, increment);
  }

  #send(type: number, flags: number, stream: number, payload: Buffer): void {
    const header = Buffer.alloc(9);
    header.writeUIntBE(payload.length, 0, 3);
    header[3] = type;
    header[4] = flags;
    header.writeUInt32BE(stream, 5);
    this.#socket.write(Buffer.concat([header, payload]));
  }
}
