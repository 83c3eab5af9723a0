/** Connection of a server, independent of the HTTP version. */
export interface ServerConnection {
  readonly protocol: 'unknown' | 'http1' | 'http2';
  /** `true` if the client has been told to open another connection, or the next response will tell it. */
  readonly isDraining: boolean;
  /** `true` if no request is in flight, so that the connection may be closed for another one. */
  readonly isIdle: boolean;
  /**
   * Time since which every request in flight waits for the client to send or read bytes, by `performance.now()`. `undefined`
   * if bytes have moved since the last check, or if a request waits for the server.
   */
  readonly waitingSince: number | undefined;
  /**
   * Enforces the time limits. It is called several times within the shortest time limit. Returns whether a request was in
   * flight at some time since the last call.
   */
  check(now: number): boolean;
  /** Lets requests in flight complete, accepts no new requests, and tells the client to open another connection. */
  drain(): void;
  /** Closes a connection for another one, with GOAWAY over HTTP/2. */
  evict(): void;
  /** Closes the connection at once, even if requests are in flight. */
  destroy(): void;
}
