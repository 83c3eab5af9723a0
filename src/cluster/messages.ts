import type { HistoryWindow } from '../history/history.js';
import type { HistoryNames } from './history-names.js';
import type { ClusterTotals, Snapshot } from './sum-stats.js';

/** Message between the parent and a process. `hotblob` distinguishes it from messages of the application. */
export type Envelope<Message> = { readonly hotblob: Message };

/** Message of a process to the parent about statistics. */
export type StatsMessage = Extract<FromProcess, { readonly type: 'stats' | 'totals' | 'history' }>;

/** Message of a process to the parent. */
export type FromProcess =
  /** The process is ready for `start`. */
  | { readonly type: 'hello' }
  /** Asks for a share of a port. The answer is `port`. */
  | { readonly type: 'listen'; readonly id: number; readonly request: PortRequest }
  /** The process serves. `info` is the value of the application for the parent. */
  | { readonly type: 'listening'; readonly info: unknown }
  | { readonly type: 'failed'; readonly error: ErrorFields }
  /** The process was asked to end, for example by SIGTERM, and waits for a replacement. */
  | { readonly type: 'leave' }
  /** Answer to `ping`. */
  | { readonly type: 'pong' }
  /** Current statistics. If the parent has asked for them, `id` is that of its message. */
  | { readonly type: 'stats'; readonly id: number | undefined; readonly snapshot: Snapshot }
  /** Asks for the statistics of all processes. The answer is `totals`. */
  | { readonly type: 'totals'; readonly id: number; readonly snapshot: Snapshot }
  /** Asks for the last seconds of the history of sources, or, with 0, only to start recording it. The answer is `history`. */
  | { readonly type: 'history'; readonly id: number; readonly names: HistoryNames; readonly seconds: number }
  /** Message of the application for its own code in the parent. */
  | { readonly type: 'notice'; readonly data: unknown };

/** Message of the parent to a process. */
export type ToProcess =
  | { readonly type: 'start'; readonly processes: number; readonly isFirst: boolean }
  /** Number of processes that are alive. */
  | { readonly type: 'count'; readonly processes: number }
  /** Answer to `listen`. If the kernel distributes the connections, a handle of the port is sent with it. */
  | { readonly type: 'port'; readonly id: number; readonly result: PortAddress | ErrorFields }
  | { readonly type: 'drain'; readonly reason: CloseReason }
  /** Asks for `pong`. */
  | { readonly type: 'ping' }
  /** Asks for `stats`. */
  | { readonly type: 'stats'; readonly id: number }
  | { readonly type: 'totals'; readonly id: number; readonly totals: ClusterTotals }
  /** Answer to `history`; undefined if there are too many histories. */
  | { readonly type: 'history'; readonly id: number; readonly history: HistoryWindow | undefined };

/** Reason why a process ends. `shutdown`: all processes end. `replaced`: another process has taken its place. */
export type CloseReason = 'shutdown' | 'replaced';

/** Port to listen on. */
export interface PortRequest {
  readonly port: number;
  readonly host: string | undefined;
  readonly ipv6Only: boolean;
  /** Number of the request among those of the process for port 0. Requests with the same number get the same free port. */
  readonly free: number | undefined;
}

/** Address to listen on. If port 0 was requested, `port` is the chosen port. */
export interface PortAddress {
  readonly port: number;
  readonly address: string;
}

/** Fields of an error that are sent to another process. */
export interface ErrorFields {
  readonly name: string;
  readonly message: string;
  readonly code: string | undefined;
  readonly stack: string | undefined;
}

/** Returns the message in an envelope; `undefined` for a message of the application. */
export function unwrap<Message>(value: unknown): Message | undefined {
  return typeof value === 'object' && value !== null && 'hotblob' in value
    ? (value as Envelope<Message>).hotblob
    : undefined;
}

export function errorFields(error: unknown): ErrorFields {
  if (!(error instanceof Error)) {
    return { name: 'Error', message: String(error), code: undefined, stack: undefined };
  }
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  return { name: error.constructor.name, message: error.message, code, stack: error.stack };
}

/** Returns the error that another process has sent. Its `name` is the class name in that process. */
export function restoreError({ name, message, code, stack }: ErrorFields): Error {
  const error = new Error(message);
  error.name = name;
  if (stack !== undefined) error.stack = stack;
  return code === undefined ? error : Object.assign(error, { code });
}

export function isError(result: object): result is ErrorFields {
  return 'message' in result;
}
