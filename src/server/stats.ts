/** What a server has done since it listens, and which connections it has now. */
export interface ServerStats {
  /** Connections that are open, by what they speak; `unknown` before they have said so. */
  readonly connections: Readonly<Record<'unknown' | 'http1' | 'http2', number>>;
  /** Connections so far, by what they spoke. */
  readonly accepted: Readonly<Record<'http1' | 'http2', number>>;
  /** Streams of HTTP/2 so far. */
  readonly streams: number;
  /** Streams that are open. */
  readonly openStreams: number;
  /** Streams that ended in a reset, whoever sent it. */
  readonly resets: number;
  /** Connections whose client was asked to go: by `Connection: close`, and by GOAWAY. */
  readonly retired: Readonly<Record<'http1' | 'http2', number>>;
  /** Connections and streams that were cut off, by why. */
  readonly cutOff: Readonly<Record<CutOffReason, number>>;
}

/** Why a server cuts something off. */
export type CutOffReason =
  /** No protocol within the time for it, or one that is not spoken here. */
  | 'preface'
  /** Its client does not read what was written. */
  | 'stalled'
  /** No answer to a PING in time. */
  | 'ping'
  /** Asked to go, and nothing has moved for too long since. */
  | 'grace'
  /** Too many resets in too short a time. */
  | 'resets'
  /** Too many PING and SETTINGS in too short a time. */
  | 'controls';

/** What the connections of one server count together. */
export class ConnectionTotals {
  readonly accepted = { http1: 0, http2: 0 };
  streams = 0;
  resets = 0;
  readonly retired = { http1: 0, http2: 0 };
  readonly cutOff: Record<CutOffReason, number> = { preface: 0, stalled: 0, ping: 0, grace: 0, resets: 0, controls: 0 };
}
