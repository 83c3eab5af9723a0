import diagnosticsChannel from 'node:diagnostics_channel';
import debug from 'debug';
import type { FileArtifact } from '../contract/artifact.js';
import { HotblobError } from '../contract/errors.js';
import type { Exchange, ResponseHeaders } from '../contract/exchange.js';
import type { OperationKind, Protocol } from '../protocols/protocol.js';
import { type BytesBySource, type SourceName, Tally, type Totals } from '../send/tally.js';

/** What `diagnostics_channel` publishes on `hotblob:response` when a response is over. */
export interface ResponseReport {
  /** The request as it came, and its headers. What it is for is over: nothing can be answered by it. */
  readonly exchange: Exchange;
  /** What tells the responses of one handler, or of one sender of routes, from those of others: what its `stats` is of. */
  readonly sender: object;
  /** Of the request. */
  readonly method: string;
  /** The name of the protocol; undefined for what no protocol has recognised, and for what the host sent by itself. */
  readonly protocol: string | undefined;
  /** What was asked for; `send` for what the host sent by itself, `none` for what has not been recognised. */
  readonly operation: OperationKind | 'send' | 'none';
  /** Undefined for what the host sent by itself, and for a key that is none. */
  readonly key: string | undefined;
  /** What was answered; 0 where the response ended before one was chosen. */
  readonly status: number;
  /** Bytes of the body that have left the process, by source. */
  readonly bytes: Readonly<BytesBySource>;
  /** From the request to what the store found; undefined where it was not asked, or found nothing. */
  readonly lookupMilliseconds: number | undefined;
  /** From the request to the headers, which leave with the first bytes of an artifact; undefined without such. */
  readonly firstByteMilliseconds: number | undefined;
  /** From the request to the end of the response. */
  readonly milliseconds: number;
  /** Whether all of it has been handed to the kernel. */
  readonly complete: boolean;
  /** What ended it early, or made it an error. */
  readonly error: unknown;
}

/** Where {@link ResponseReport}s are published. */
export const RESPONSE_CHANNEL = 'hotblob:response';

const channel = diagnosticsChannel.channel(RESPONSE_CHANNEL);
const logResponse = debug('hotblob:response');
const logError = debug('hotblob:error');

/** Whose responses are counted, and how. */
export interface Reporter {
  /** As in {@link ResponseReport}. */
  readonly sender: object;
  readonly totals: Totals;
  /** Whether clients are told what took how long. */
  readonly timing: boolean;
}

/** One response, from the request on. */
export class ResponseRecord extends Tally {
  readonly startedAt = performance.now();
  readonly exchange: Exchange;
  readonly reporter: Reporter;
  key: string | undefined;
  protocol: Protocol | undefined;
  operation: ResponseReport['operation'];
  /** What was found, but gone when it was to be opened. */
  vanished: FileArtifact | undefined;
  /** Whether the store was asked for the artifact. */
  wasLookedUp = false;
  /** When the store had found something, as `startedAt`; 0 before, and where that was at once and nobody wants to know. */
  foundAt = 0;
  status = 0;
  complete = true;
  error: unknown;

  constructor(exchange: Exchange, operation: 'send' | 'none', reporter: Reporter) {
    super(reporter.totals);
    this.exchange = exchange;
    this.operation = operation;
    this.reporter = reporter;
  }

  /** The store has found something, at once or `later`. */
  found(later: boolean): void {
    if (later || this.reporter.timing || channel.hasSubscribers) this.foundAt = performance.now();
  }

  override begin(headers: ResponseHeaders, source: SourceName | undefined): void {
    super.begin(headers, source);
    if (this.reporter.timing) headers['server-timing'] = this.#serverTiming(source);
  }

  /** `Server-Timing` (W3C Server Timing, 3): durations in milliseconds. */
  #serverTiming(source: SourceName | undefined): string {
    const { startedAt, foundAt, begunAt } = this;
    const metrics: string[] = [];
    if (source !== undefined) metrics.push(`source;desc=${source}`);
    if (foundAt > 0) metrics.push(`lookup;dur=${(foundAt - startedAt).toFixed(3)}`);
    return [...metrics, `first-byte;dur=${(begunAt - startedAt).toFixed(3)}`].join(', ');
  }
}

/** Tells those who listen that a response is over. Costs next to nothing when nobody does. */
export function report(record: ResponseRecord): void {
  const { exchange, key, status, bytes, startedAt, foundAt, begunAt, operation, complete, error } = record;
  const { method } = exchange;
  if (error !== undefined && logError.enabled && !isTheClients(error)) logError('%s %s: %O', method, key, error);
  if (!logResponse.enabled && !channel.hasSubscribers) return;
  const milliseconds = performance.now() - startedAt;
  channel.publish({
    exchange,
    sender: record.reporter.sender,
    method,
    protocol: record.protocol?.name,
    operation,
    key,
    status,
    bytes,
    lookupMilliseconds: foundAt > 0 ? foundAt - startedAt : undefined,
    firstByteMilliseconds: begunAt > 0 ? begunAt - startedAt : undefined,
    milliseconds,
    complete,
    error,
  } satisfies ResponseReport);
  if (!logResponse.enabled) return;
  const sources = Object.entries(bytes).filter(([, count]) => count > 0);
  const body = sources.map(([source, count]) => `${source} ${count}`).join(', ') || 'no body';
  logResponse('%s %s %d (%s) %s ms%s', method, key, status, body, milliseconds.toFixed(2), complete ? '' : ', cut off');
}

function isTheClients(error: unknown): boolean {
  return error instanceof HotblobError && error.status < 500;
}
