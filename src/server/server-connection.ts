/** Connection of a server, independent of the HTTP version. */
export interface ServerConnection {
  readonly protocol: 'unknown' | 'http1' | 'http2';
  /** `true` if the client has been told to open another connection, or the next response will tell it. */
  readonly isDraining: boolean;
  /** Enforces the time limits. It is called several times within the shortest time limit. */
  check(now: number): void;
  /** Lets requests in flight complete, accepts no new requests, and tells the client to open another connection. */
  drain(): void;
  /** Closes the connection at once, even if requests are in flight. */
  destroy(): void;
}
