/** Connection counts of a server. Totals count from the creation of the server. */
export interface ServerStats {
  /**
   * Number of open connections by protocol. `unknown`: the client has not yet sent enough bytes to detect the protocol.
   */
  readonly connections: Readonly<Record<'unknown' | 'http1' | 'http2', number>>;
  /** Total number of connections by protocol. */
  readonly accepted: Readonly<Record<'http1' | 'http2', number>>;
  /** Maximum number of open connections. */
  readonly maxConnections: number;
  /** Total number of connections that were closed when they were accepted, because all others had a request in flight. */
  readonly refused: number;
  /** Total number of HTTP/2 streams. */
  readonly streams: number;
  /** Number of open HTTP/2 streams. */
  readonly openStreams: number;
  /** Total number of HTTP/2 streams that were reset by the client or the server. */
  readonly resets: number;
  /** Total number of connections that the server drained: with `Connection: close` (HTTP/1.1) or GOAWAY (HTTP/2). */
  readonly drained: Readonly<Record<'http1' | 'http2', number>>;
  /** Total number of connections that the server destroyed and of streams that it reset, by reason. */
  readonly terminated: Readonly<Record<TerminationReason, number>>;
}

/** Reason for which a server destroyed a connection or reset a stream. */
export type TerminationReason =
  /** The client sent neither HTTP/1.1 nor HTTP/2 within `prefaceTimeoutMs`, or it sent another protocol. */
  | 'preface'
  /** The connection was idle, or the server waited for its client, when a new one exceeded `maxConnections`. */
  | 'evicted'
  /**
   * The client read nothing of a response for `writeTimeoutMs`, or sent nothing of a request body for `bodyTimeoutMs`.
   */
  | 'stalled'
  /** The client did not answer a PING within `pingTimeoutMs`. */
  | 'ping'
  /** After the GOAWAY, no bytes were sent or received for `graceMs`. */
  | 'grace'
  /** There were more resets than `resetBurst` and `resetsPerSecond` allow. */
  | 'resets'
  /** The client sent more PING and SETTINGS frames than `controlBurst` and `controlsPerSecond` allow. */
  | 'controls';

/** Totals of one server. Its connections update them. */
export class ConnectionTotals {
  readonly accepted = { http1: 0, http2: 0 };
  refused = 0;
  streams = 0;
  resets = 0;
  readonly drained = { http1: 0, http2: 0 };
  readonly terminated: Record<TerminationReason, number> = {
    preface: 0,
    evicted: 0,
    stalled: 0,
    ping: 0,
    grace: 0,
    resets: 0,
    controls: 0,
  };
}
