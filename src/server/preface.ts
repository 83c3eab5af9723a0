import type { Socket } from 'node:net';

/** First bytes of an HTTP/2 connection (RFC 9113, 3.4). */
const HTTP2_PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');
const TLS_HANDSHAKE = 0x16;

/** Protocol that a client speaks on a plain port. `tls` and `unknown` are refused there. */
export type WireProtocol = 'http1' | 'http2' | 'tls' | 'unknown';

/** Returns the protocol of a connection that begins with `bytes`, or `undefined` if more bytes are needed. */
export function wireProtocolOf(bytes: Uint8Array): WireProtocol | undefined {
  const [first] = bytes;
  if (first === undefined) return undefined;
  if (first !== HTTP2_PREFACE[0]) {
    return first === TLS_HANDSHAKE ? 'tls' : canBeginHttp1(first) ? 'http1' : 'unknown';
  }
  const length = Math.min(bytes.length, HTTP2_PREFACE.length);
  if (HTTP2_PREFACE.compare(bytes, 0, length, 0, length) !== 0) return 'http1';
  return length === HTTP2_PREFACE.length ? 'http2' : undefined;
}

/** Returns whether a client of a TLS port sends HTTP instead of a handshake, or `undefined` if `bytes` is empty. */
export function beginsHttp([first]: Uint8Array): boolean | undefined {
  return first === undefined ? undefined : canBeginHttp1(first);
}

// Returns whether an HTTP/1.1 request can begin with `byte`. Every registered method consists of letters, and empty
// lines before the request line are ignored (RFC 9112, 2.2).
function canBeginHttp1(byte: number): boolean {
  return (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a) || byte === 0x0d || byte === 0x0a;
}

/**
 * Calls `callback` once with the first result of `detect` that is defined, and with the bytes that have been read so far. If the client closes its side
 * before that, the socket is destroyed. Otherwise it would stay open, because servers of node:http allow half-open
 * sockets.
 */
export function detectProtocol<T>(
  socket: Socket,
  detect: (bytes: Uint8Array) => T | undefined,
  callback: (detected: T, received: Buffer) => void,
): void {
  let received: Buffer | undefined;
  const onData = (chunk: Buffer): void => {
    received = received === undefined ? chunk : Buffer.concat([received, chunk]);
    const detected = detect(received);
    if (detected === undefined) return;
    socket.off('data', onData).off('end', onEnd);
    callback(detected, received);
  };
  const onEnd = (): void => void socket.destroy();
  socket.on('data', onData).on('end', onEnd);
}
