import type { Socket } from 'node:net';

/**
 * Messages between the processes that share a store, over a unix socket. A message is a frame: one byte with its type, four bytes
 * with the length of the payload, and the payload. If a request states the size of its body, the body follows without frames, so
 * that the receiver can read it in large pieces.
 */
export const FRAME = {
  /** From a reader: a request, as JSON. */
  request: 1,
  /** From a reader: a part of a body whose size is unknown. */
  data: 2,
  /** From a reader: the body is complete. */
  end: 3,
  /** From the writer: the result of the request, as JSON. */
  result: 4,
  /** From the writer: the error of the request, as JSON. */
  error: 5,
  /** From a reader: keys that it has read, as JSON. */
  reads: 6,
  /** From the writer: the path of a file that is deleted or replaced, and the number of the message, as JSON. */
  release: 7,
  /** From the writer: it closes its store as soon as no request is in progress. The payload is the number of the message, as JSON. */
  ending: 8,
  /** From a reader: it has processed a message of the writer. The payload is the number of that message, as JSON. */
  done: 9,
  /** From the writer: the statistics of its store, as JSON. Sent regularly, so that a reader detects a writer that is stopped. */
  stats: 10,
  /** From the writer: it has accepted the connection. If the writer has no free descriptor, it closes a connection without it. */
  hello: 11,
  /** From the writer: the progress of a purge, as JSON. */
  progress: 12,
} as const;

export type FrameType = (typeof FRAME)[keyof typeof FRAME];

const HEADER_BYTES = 5;
/** Maximum size of a payload that is not part of a body. */
const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;

/** Sends a message with a payload of bytes, or without a payload. Returns false if the caller should wait until the socket has drained. */
export function sendBytes(socket: Socket, type: FrameType, payload?: Uint8Array): boolean {
  const header = Buffer.allocUnsafe(HEADER_BYTES);
  writeHeader(header, 0, type, payload?.byteLength ?? 0);
  if (payload === undefined) return socket.write(header);
  socket.cork(); // one system call for both
  socket.write(header);
  const isBelowMark = socket.write(payload);
  socket.uncork();
  return isBelowMark;
}

/**
 * Sends a message whose payload is JSON.
 *
 * @param body complete body of a request, which is sent with it
 */
export function sendMessage(socket: Socket, type: FrameType, message: object, body?: Uint8Array): void {
  const json = JSON.stringify(message);
  const jsonBytes = Buffer.byteLength(json);
  const bodyStart = HEADER_BYTES + jsonBytes;
  // In one buffer: for small messages, a copy costs less than a second write.
  const bytes = Buffer.allocUnsafe(bodyStart + (body === undefined ? 0 : body.byteLength + HEADER_BYTES));
  writeHeader(bytes, 0, type, jsonBytes);
  bytes.write(json, HEADER_BYTES);
  if (body !== undefined) {
    bytes.set(body, bodyStart);
    writeHeader(bytes, bodyStart + body.byteLength, FRAME.end, 0);
  }
  socket.write(bytes);
}

function writeHeader(bytes: Buffer, offset: number, type: FrameType, length: number): void {
  bytes[offset] = type;
  bytes.writeUInt32LE(length, offset + 1);
}

/** Receiver of the messages of a socket. */
export interface FrameListener {
  /** Called with each message except {@link FRAME.data}. */
  onMessage(type: number, payload: Buffer): void;
  /** Called with each piece of a body. */
  onBody(chunk: Buffer): void;
}

/** Splits the bytes of a socket into messages. */
export class FrameParser {
  readonly #listener: FrameListener;
  #pending: Buffer = Buffer.alloc(0);
  /** Type of the frame whose header has arrived, and number of bytes of its payload that are missing. */
  #type = 0;
  #missing = 0;
  #hasHeader = false;
  /** Bytes of a body that follow without a frame. */
  #rawBytes = 0;

  constructor(listener: FrameListener) {
    this.#listener = listener;
  }

  /**
   * Announces that the next `bytes` bytes are a body. Called in {@link FrameListener.onMessage}.
   *
   * @throws Error if `bytes` is not a non-negative integer
   */
  expectBody(bytes: number): void {
    if (!Number.isSafeInteger(bytes) || bytes < 0) throw new Error(`body of ${bytes} bytes`);
    this.#rawBytes = bytes;
  }

  /** @throws Error if the bytes are not valid messages */
  push(chunk: Buffer): void {
    let rest = this.#pending.byteLength === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    while (rest.byteLength > 0) {
      const used = this.#take(rest);
      if (used === 0) break;
      rest = rest.subarray(used);
    }
    this.#pending = rest;
  }

  /** Processes the beginning of `bytes`. Returns the number of bytes processed, or 0 if there are too few. */
  #take(bytes: Buffer): number {
    if (this.#rawBytes > 0) {
      const body = bytes.subarray(0, this.#rawBytes);
      this.#rawBytes -= body.byteLength;
      this.#listener.onBody(body);
      return body.byteLength;
    }
    if (!this.#hasHeader) return this.#takeHeader(bytes);
    if (this.#type === FRAME.data) {
      const body = bytes.subarray(0, this.#missing);
      this.#missing -= body.byteLength;
      this.#hasHeader = this.#missing > 0;
      if (body.byteLength > 0) this.#listener.onBody(body);
      return body.byteLength;
    }
    const length = this.#missing;
    if (bytes.byteLength < length) return 0;
    this.#hasHeader = false;
    this.#listener.onMessage(this.#type, bytes.subarray(0, length));
    return length;
  }

  #takeHeader(bytes: Buffer): number {
    if (bytes.byteLength < HEADER_BYTES) return 0;
    this.#type = bytes.readUInt8(0);
    this.#missing = bytes.readUInt32LE(1);
    if (this.#type !== FRAME.data && this.#missing > MAX_MESSAGE_BYTES) {
      throw new Error(`message of ${this.#missing} bytes`);
    }
    this.#hasHeader = this.#missing > 0;
    if (!this.#hasHeader && this.#type !== FRAME.data) this.#listener.onMessage(this.#type, Buffer.alloc(0));
    return HEADER_BYTES;
  }
}
