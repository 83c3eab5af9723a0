import { clientGoneError, type Exchange, headersSentError } from '../contract/exchange.js';

/**
 * Safe methods, whose requests may be performed in parallel (RFC 9110, section 9.2.1; PROPFIND: RFC 4918, section 9.1).
 */
const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PROPFIND']);

/** Number of unsafe requests in flight, by connection. All handlers that a host mounts share this map. */
const unsafeRequests = new WeakMap<object, number>();

/**
 * Returns a promise that resolves when a request may be performed, or undefined if it may be performed now. An unsafe
 * request waits until the earlier requests of its HTTP/1.1 connection have been answered, and later requests wait for
 * it (RFC 9112, section 9.3.2). The promise rejects if the connection is closed first.
 *
 * @throws HotblobError `ERR_HOTBLOB_CLIENT_GONE` if the request is unsafe and the exchange is closed. The client has no use
 *   for its effect, and could not tell whether it took place
 * @throws HotblobError `ERR_HOTBLOB_HEADERS_SENT` if the host has already responded to an unsafe request
 */
export function waitForEarlierRequests(exchange: Exchange): Promise<void> | undefined {
  const { connection, multiplexed, method } = exchange;
  const isSafe = SAFE_METHODS.has(method);
  // Before the handler saw the request, the host may have waited for something else.
  if (!isSafe && exchange.closed) throw exchange.headersSent ? headersSentError() : clientGoneError();
  if (multiplexed) return undefined;
  if (!isSafe) addUnsafe(exchange);
  else if (!unsafeRequests.has(connection)) return undefined;
  return exchange.turn()?.then(() => {
    // The response to an earlier request may have closed the connection (RFC 9112, section 9.6).
    if (exchange.closed) throw clientGoneError();
  });
}

function addUnsafe(exchange: Exchange): void {
  const { connection } = exchange;
  unsafeRequests.set(connection, (unsafeRequests.get(connection) ?? 0) + 1);
  exchange.onClose(() => {
    const others = (unsafeRequests.get(connection) ?? 1) - 1;
    if (others === 0) unsafeRequests.delete(connection);
    else unsafeRequests.set(connection, others);
  });
}
