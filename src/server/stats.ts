/** Connection counts of a server. Totals are since the server was created. */
export interface ServerStats {
  /** Open connections by protocol. `unknown`: the client has not sent enough bytes to tell. */
  readonly connections: Readonly<Record<'unknown' | 'http1' | 'http2', number>>;
  /** Total connections by protocol. */
  readonly accepted: Readonly<Record<'http1' | 'http2', number>>;
  /** Total HTTP/2 streams. */
  readonly streams: number;
  /** Open HTTP/2 streams. */
  readonly openStreams: number;
  /** Total HTTP/2 streams that ended in a reset by the client or the server. */
  readonly resets: number;
  /** Total connections drained by the server: with `Connection: close` (HTTP/1.1) or GOAWAY (HTTP/2). */
  readonly drained: Readonly<Record<'http1' | 'http2', number>>;
  /** Total connections destroyed and streams reset by the server, by reason. */
  readonly terminated: Readonly<Record<TerminationReason, number>>;
}

/** Reason for which a server destroyed a connection or reset a stream. */
export type TerminationReason =
  /** The client sent no HTTP/1.1 or HTTP/2 within `prefaceTimeoutMs`, or sent another protocol. */
  | 'preface'
  /** The client did not read a response within `writeTimeoutMs`. */
  | 'stalled'
  /** The client did not answer a PING within `pingTimeoutMs`. */
  | 'ping'
  /** After GOAWAY, no bytes moved for `graceMs`. */
  | 'grace'
  /** More resets than `resetBurst` and `resetsPerSecond` allow. */
  | 'resets'
  /** More PING and SETTINGS frames than `controlBurst` and `controlsPerSecond` allow. */
  | 'controls';

/** Totals of one server, which its connections update. */
export class ConnectionTotals {
  readonly accepted = { http1: 0, http2: 0 };
  streams = 0;
  resets = 0;
  readonly drained = { http1: 0, http2: 0 };
  readonly terminated: Record<TerminationReason, number> = {
    preface: 0,
    stalled: 0,
    ping: 0,
    grace: 0,
    resets: 0,
    controls: 0,
  };
}
