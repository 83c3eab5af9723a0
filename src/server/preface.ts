import type { Socket } from 'node:net';

/** The first bytes of an HTTP/2 connection (RFC 9113, 3.4). */
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');
const TLS_HANDSHAKE = 0x16;

/** What a client speaks, or why nobody can tell. */
export type Protocol = 'http1' | 'http2' | 'tls' | 'unknown';

/** What the first bytes of a connection say; undefined while they could still be either. */
export function protocolOf(bytes: Uint8Array): Protocol | undefined {
  const [first] = bytes;
  if (first === undefined) return undefined;
  if (first !== PREFACE[0]) return first === TLS_HANDSHAKE ? 'tls' : isMethodCharacter(first) ? 'http1' : 'unknown';
  const length = Math.min(bytes.length, PREFACE.length);
  if (PREFACE.compare(bytes, 0, length, 0, length) === 0) return length === PREFACE.length ? 'http2' : undefined;
  return 'http1';
}

// Methods are tokens, and every one that is registered is of letters. Empty lines before the first are to be ignored
// (RFC 9112, 2.2).
function isMethodCharacter(byte: number): boolean {
  return (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a) || byte === 0x0d || byte === 0x0a;
}

/**
 * Calls `decide` once with what the client speaks, and what it has said until then. Never calls it for a socket that ends
 * before: that one is destroyed, because node:http's servers let sockets be half open.
 */
export function onProtocol(socket: Socket, decide: (protocol: Protocol, seen: Buffer) => void): void {
  let seen: Buffer | undefined;
  const onData = (chunk: Buffer): void => {
    seen = seen === undefined ? chunk : Buffer.concat([seen, chunk]);
    const protocol = protocolOf(seen);
    if (protocol === undefined) return;
    socket.off('data', onData).off('end', onEnd);
    decide(protocol, seen);
  };
  const onEnd = (): void => void socket.destroy();
  socket.on('data', onData).on('end', onEnd);
}
