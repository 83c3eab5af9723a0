import type { AddressInfo, ListenOptions } from 'node:net';
import type { SecureContextOptions } from 'node:tls';
import type { ServerStats } from './stats.js';

/** Options of `close` of a {@link CacheServer}. */
export interface CloseOptions {
  /** Time in milliseconds after which the remaining connections are destroyed. Default: 30,000. */
  readonly timeoutMs?: number | undefined;
  /** Whether to stop listening at once. Default: false. */
  readonly stopListening?: boolean | undefined;
}

/** Server that speaks HTTP/1.1 and HTTP/2 on one port. Created by `createServer`. */
export interface CacheServer {
  /** Starts listening. Resolves when the server listens. Rejects with the system error, such as `EADDRINUSE`. */
  listen(options: ListenOptions): Promise<void>;
  /** Returns the address, or `null` if the server does not listen. */
  address(): AddressInfo | string | null;
  /** Returns the number of open connections, and totals since the server was created. */
  stats(): ServerStats;
  /**
   * Replaces the certificate and the key for new connections, for example after a renewal: `cert` and `key`, or `pfx`, with
   * their `passphrase`. The other options of `tls` remain, and open connections are kept.
   *
   * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` if the server was created without `tls`, or for `cert` without `key` or
   *   `key` without `cert`
   * @throws the error of node:tls if the certificate and the key cannot be used. The previous ones then remain in use
   */
  setSecureContext(options: SecureContextOptions): void;
  /**
   * Closes the server gracefully. Drains every connection, lets requests in flight complete, and destroys the
   * connections that remain after `timeoutMs` (default: 30 s). Until the existing connections have closed, the server
   * accepts new connections, so that a load balancer can still request its readiness. With `stopListening`, it accepts
   * none: another process has taken over the port. Resolves when every connection has closed.
   * A further call waits for the first one, and its options can only make it end earlier.
   */
  close(options?: CloseOptions): Promise<void>;
}
