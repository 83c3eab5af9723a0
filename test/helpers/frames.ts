import { once } from 'node:events';
import net, { type Socket } from 'node:net';
import tls from 'node:tls';
import type { ExecutionContext } from 'ava';
import type { RunningServer } from './servers.js';

const DATA = 0;
const HEADERS = 1;
const RST_STREAM = 3;
const SETTINGS = 4;
const PING = 6;
const GOAWAY = 7;
const WINDOW_UPDATE = 8;
const ACK = 1;
const END_STREAM = 1;
const END_HEADERS = 4;
const INITIAL_WINDOW_SIZE = 4;
const LARGEST_WINDOW = 2 ** 31 - 1;
const DEFAULT_WINDOW = 65535;
const MAX_FRAME = 16_384;

/** Data received on one stream. */
export class ReceivedStream {
  readonly #chunks: Buffer[] = [];
  bytes = 0;
  hasHeaders = false;
  isEnded = false;
  resetCode: number | undefined;

  get body(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  add(payload: Buffer): void {
    this.#chunks.push(payload);
    this.bytes += payload.byteLength;
  }
}

export interface FramesOptions {
  /** Initial flow-control window of each stream. Default: the maximum of 2^31 - 1 bytes. */
  readonly windowSize?: number;
}

/** HTTP/2 client that sends the frames that a test chooses (RFC 9113). To stop reading, pause `socket`. */
export class Frames {
  readonly socket: Socket;
  readonly #streams = new Map<number, ReceivedStream>();
  /** Send window of the connection (ID 0), and the difference from the initial window for each stream. */
  readonly #allowed = new Map<number, number>([[0, DEFAULT_WINDOW]]);
  #initialAllowance = DEFAULT_WINDOW;
  readonly #pings: Buffer[] = [];
  /** Whether PINGs are answered only by {@link answerPings}. */
  isHoldingPings = false;
  /** Whether the SETTINGS frame of the server has arrived. */
  hasSettings = false;
  /** Whether the server has sent GOAWAY. */
  hasGoaway = false;
  #rest: Buffer = Buffer.alloc(0);

  static async connect(
    t: ExecutionContext,
    { port, certificate }: Pick<RunningServer, 'port' | 'certificate'>,
    options: FramesOptions = {},
  ): Promise<Frames> {
    const address = { host: '127.0.0.1', port };
    const secure = certificate && { ca: certificate.cert, ALPNProtocols: ['h2'] };
    const socket = secure ? tls.connect({ ...address, ...secure }) : net.connect(address);
    await once(socket, secure ? 'secureConnect' : 'connect');
    t.teardown(() => socket.destroy());
    return new Frames(socket, options.windowSize ?? LARGEST_WINDOW);
  }

  private constructor(socket: Socket, windowSize: number) {
    this.socket = socket;
    socket.on('error', () => {}).on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    this.setInitialWindow(windowSize);
    // The connection window is opened completely, so that only stream windows limit the server.
    this.allow(0, LARGEST_WINDOW - DEFAULT_WINDOW);
  }

  stream(id: number): ReceivedStream {
    let stream = this.#streams.get(id);
    if (stream === undefined) {
      stream = new ReceivedStream();
      this.#streams.set(id, stream);
    }
    return stream;
  }

  get(id: number, path: string): void {
    // Indexed ":method: GET" and ":scheme: http", then literals without indexing (RFC 7541, 6.1 and 6.2.2).
    const block = Buffer.concat([Buffer.from([0x82, 0x86]), literal(4, path), literal(1, '127.0.0.1')]);
    this.send(HEADERS, END_HEADERS | END_STREAM, id, block);
  }

  /** Answers the PINGs that have been received. */
  answerPings(): void {
    for (const payload of this.#pings.splice(0)) this.send(PING, ACK, 0, payload);
  }

  /** Sends the headers of a request with a body. `fields` may have a name several times. */
  begin(
    id: number,
    method: string,
    path: string,
    fields: readonly (readonly [name: string, value: string])[] = [],
  ): void {
    const pseudo = [literal(2, method), Buffer.from([0x86]), literal(4, path), literal(1, '127.0.0.1')];
    const block = Buffer.concat([
      ...pseudo,
      ...fields.map(([name, value]) => Buffer.concat([literal(0, name), text(value)])),
    ]);
    this.send(HEADERS, END_HEADERS, id, block);
  }

  /** Returns the number of bytes that the windows of the stream and the connection allow the client to send. */
  allowance(id: number): number {
    return Math.min(this.#allowed.get(0) ?? 0, this.#initialAllowance + (this.#allowed.get(id) ?? 0));
  }

  /** Sends `bytes` zeros of a request body. Must not exceed the {@link allowance}. */
  data(id: number, bytes: number): void {
    for (const each of [0, id]) this.#allowed.set(each, (this.#allowed.get(each) ?? 0) - bytes);
    for (let left = bytes; left > 0; left -= MAX_FRAME) this.send(DATA, 0, id, Buffer.alloc(Math.min(left, MAX_FRAME)));
  }

  /** Ends a request body. */
  end(id: number): void {
    this.send(DATA, END_STREAM, id, Buffer.alloc(0));
  }

  reset(id: number, code = 8): void {
    this.send(RST_STREAM, 0, id, uint32(code));
  }

  /** Increases the receive window of a stream, or of the connection if `id` is 0. */
  allow(id: number, bytes: number): void {
    this.send(WINDOW_UPDATE, 0, id, uint32(bytes));
  }

  /** Sets the initial receive window. This also changes the windows of streams in flight (RFC 9113, 6.9.2). */
  setInitialWindow(bytes: number): void {
    this.send(SETTINGS, 0, 0, Buffer.concat([Buffer.from([0, INITIAL_WINDOW_SIZE]), uint32(bytes)]));
  }

  /** Sends a frame, which need not be valid. */
  send(type: number, flags: number, id: number, payload: Buffer): void {
    const head = Buffer.alloc(9);
    head.writeUIntBE(payload.byteLength, 0, 3);
    head.writeUInt8(type, 3);
    head.writeUInt8(flags, 4);
    head.writeUInt32BE(id, 5);
    this.socket.write(Buffer.concat([head, payload]));
  }

  #receive(chunk: Buffer): void {
    let rest = this.#rest.byteLength === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (rest.byteLength >= 9) {
      const end = 9 + rest.readUIntBE(0, 3);
      if (rest.byteLength < end) break;
      this.#take(rest.readUInt8(3), rest.readUInt8(4), rest.readUInt32BE(5), rest.subarray(9, end));
      rest = rest.subarray(end);
    }
    this.#rest = rest;
  }

  #take(type: number, flags: number, id: number, payload: Buffer): void {
    if (type === SETTINGS && (flags & ACK) === 0) this.send(SETTINGS, ACK, 0, Buffer.alloc(0));
    if (type === PING && (flags & ACK) === 0) this.#pings.push(payload);
    if (!this.isHoldingPings) this.answerPings();
    if (type === SETTINGS && (flags & ACK) === 0) {
      this.hasSettings = true;
      for (let at = 0; at < payload.byteLength; at += 6) {
        if (payload.readUInt16BE(at) === INITIAL_WINDOW_SIZE) this.#initialAllowance = payload.readUInt32BE(at + 2);
      }
    }
    if (type === GOAWAY) this.hasGoaway = true;
    if (type === WINDOW_UPDATE) this.#allowed.set(id, (this.#allowed.get(id) ?? 0) + payload.readUInt32BE());
    if (id === 0) return;
    const stream = this.stream(id);
    if (type === DATA) stream.add(payload);
    if (type === HEADERS) stream.hasHeaders = true;
    if (type === RST_STREAM) stream.resetCode = payload.readUInt32BE(0);
    if ((type === DATA || type === HEADERS) && (flags & END_STREAM) !== 0) stream.isEnded = true;
  }
}

/** Literal field without indexing. Index 0: the value is the name, and a text with the value follows (RFC 7541, 6.2.2). */
function literal(index: number, value: string): Buffer {
  return Buffer.concat([Buffer.from([index]), text(value)]);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'latin1');
  if (bytes.byteLength > 126) throw new Error('values of more than 126 bytes are not supported');
  return Buffer.concat([Buffer.from([bytes.byteLength]), bytes]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
