import { HotblobError } from '../contract/errors.js';
import type { Exchange } from '../contract/exchange.js';

/** Size up to which a reply is not counted: it takes about as much memory as its request. */
const SMALL_BYTES = 4 * 1024;
/** Maximum size of all replies that clients have not received. */
const MAX_BYTES = 64 * 1024 * 1024;
/** Maximum size of the replies of one connection. A single reply may be larger. */
const MAX_CONNECTION_BYTES = 8 * 1024 * 1024;

let unsentBytes = 0;
const unsentByConnection = new WeakMap<object, number>();

/**
 * Writes the body of a reply and ends the response. The bytes count towards a limit of the process until they have left it, because
 * a client can request large replies over thousands of HTTP/2 streams and read none of them. Artifacts have limits of their own.
 *
 * @param respond sends the headers
 * @throws HotblobError `ERR_HOTBLOB_OVERLOADED` if the limit is reached; nothing has been sent
 */
export function writeReply(exchange: Exchange, bytes: Uint8Array, respond: () => void): Promise<boolean> {
  const { byteLength } = bytes;
  if (byteLength <= SMALL_BYTES) {
    respond();
    return exchange.write([bytes], true);
  }
  const { connection } = exchange;
  const connectionBytes = unsentByConnection.get(connection) ?? 0;
  const isConnectionFull = connectionBytes > 0 && connectionBytes + byteLength > MAX_CONNECTION_BYTES;
  if (isConnectionFull || unsentBytes + byteLength > MAX_BYTES) {
    const message = `a reply of ${byteLength} bytes has no room: clients have not received ${unsentBytes} bytes of earlier ones, ${connectionBytes} of them on this connection`;
    throw new HotblobError('ERR_HOTBLOB_OVERLOADED', message);
  }
  respond();
  const count = (bytes: number): void => {
    unsentBytes += bytes;
    unsentByConnection.set(connection, (unsentByConnection.get(connection) ?? 0) + bytes);
  };
  const written = exchange.write([bytes], true);
  count(byteLength);
  return written.finally(() => count(-byteLength));
}
