import diagnosticsChannel from 'node:diagnostics_channel';
import type { FileArtifact } from '../contract/artifact.js';
import { HotblobError } from '../contract/errors.js';
import type { Exchange, ResponseHeaders } from '../contract/exchange.js';
import { DEFAULT_SCOPE } from '../keys/scope.js';
import type { OperationKind, Protocol } from '../protocols/protocol.js';
import { type BytesBySource, type SourceName, Tally } from '../send/tally.js';
import { createLog } from '../util/log.js';
import { messageOf, reportEvent } from '../util/report-event.js';
import type { Counters } from './stats.js';
import type { View } from './view.js';

/** Message that `diagnostics_channel` publishes on `hotblob:response` at the end of each response. */
export interface ResponseReport {
  /** Exchange of the request. It has ended: subscribers may read its request, but must not respond. */
  readonly exchange: Exchange;
  /** Handler or sender that sent the response: the object whose `stats()` counts it. */
  readonly sender: object;
  /** Request method. */
  readonly method: string;
  /** Name of the protocol. Undefined if no protocol matched, or if a route of the host sent the artifact. */
  readonly protocol: string | undefined;
  /** Owner of the artifacts (a team or tenant) that the request named; undefined if it named none. */
  readonly namespace: string | undefined;
  /** Requested operation. `send`: a route of the host sent the artifact. `none`: no protocol matched. */
  readonly operation: OperationKind | 'send' | 'none';
  /**
   * Key with the prefix of its protocol, without the scope. Undefined if a route of the host sent the artifact, or if the key is
   * invalid.
   */
  readonly key: string | undefined;
  /**
   * Scope of the artifact that was sent, or to which the upload or deletion applied. `default` if the access policy did not name
   * one, and before it was asked.
   */
  readonly scope: string;
  /** Name of the client, as the access policy returned it; undefined without one. */
  readonly subject: string | undefined;
  /** HTTP status code; 0 if the response ended before its status was known. */
  readonly status: number;
  /**
   * HTTP status code of the failure, if the server did not perform a valid request. It differs from `status` if the protocol
   * replaces it, for example by that of a miss. Otherwise undefined.
   */
  readonly failure: number | undefined;
  /** Number of bytes of the body that have left the process, by source. */
  readonly bytes: Readonly<BytesBySource>;
  /** Number of bytes of the request body that the handler has read. */
  readonly receivedBytes: number;
  /** Milliseconds from the request to the end of the lookup in the store; undefined for a miss, or without a lookup. */
  readonly lookupMilliseconds: number | undefined;
  /** Milliseconds from the request to the response headers of an artifact; undefined if no artifact was sent. */
  readonly firstByteMilliseconds: number | undefined;
  /** Milliseconds from the request to the end of the response. */
  readonly milliseconds: number;
  /**
   * Whether the handler has written the whole response, and nothing failed: false if `error` is set, even if the response
   * with the status of the error was complete.
   */
  readonly complete: boolean;
  /** Error that ended the response early, or to which the status of the response belongs. */
  readonly error: unknown;
}

/** Name of the channel on which {@link ResponseReport}s are published. */
export const RESPONSE_CHANNEL = 'hotblob:response';

const channel = diagnosticsChannel.channel(RESPONSE_CHANNEL);
const logResponse = createLog('response');
const logError = createLog('error');

/** Handler or sender to which the records of its responses are reported. */
export interface Reporter {
  /** Handler or sender whose responses are recorded. See {@link ResponseReport.sender}. */
  readonly sender: object;
  readonly counters: Counters;
  /** Whether responses have a `Server-Timing` header. */
  readonly timing: boolean;
}

/** Record of one response, from the request to the end of the response. */
export class ResponseRecord {
  readonly startedAt = performance.now();
  readonly exchange: Exchange;
  readonly tally: Tally;
  key: string | undefined;
  protocol: Protocol | undefined;
  /** See {@link ResponseReport.namespace}. */
  namespace: string | undefined;
  /** See {@link ResponseReport.receivedBytes}. */
  receivedBytes = 0;
  /** View of the store; undefined for a response of a sender, and before access is granted. */
  #view: View | undefined;
  operation: ResponseReport['operation'];
  /** Artifact that the lookup found but whose file no longer existed when it was opened. */
  vanished: FileArtifact | undefined;
  /** Whether the request has looked up an artifact that it wanted to send. */
  wasLookedUp = false;
  /**
   * Whether the request has waited for earlier requests of its connection. `startedAt` is then not the current time.
   */
  hasWaited = false;
  /** Time at which the lookup found an artifact, by `performance.now()`; 0 if the time was not measured. */
  foundAt = 0;
  /** Time at which the headers of an artifact were sent, by `performance.now()`; 0 before that. */
  headersAt = 0;
  status = 0;
  failure: number | undefined;
  complete = true;
  error: unknown;
  /** Restores what the handler has changed about the exchange. Called before another handler or the host responds. */
  restoreExchange: (() => void) | undefined;
  readonly #reporter: Reporter;

  constructor(exchange: Exchange, operation: 'send' | 'none', reporter: Reporter) {
    this.exchange = exchange;
    this.operation = operation;
    this.#reporter = reporter;
    this.tally = new Tally(reporter.counters);
    reporter.counters.active++;
  }

  /** View of the store that the access policy has granted. */
  get view(): View {
    if (this.#view === undefined) throw new Error('access was not checked');
    return this.#view;
  }

  set view(view: View) {
    this.#view = view;
  }

  /** Whether other clients may receive another artifact for the same request. */
  get isScoped(): boolean {
    return this.#view?.isScoped === true;
  }

  /** Records that the lookup found an artifact. The time of a synchronous lookup is measured only if it is needed. */
  found(isAsync: boolean): void {
    if (isAsync || this.hasWaited || this.#reporter.timing || channel.hasSubscribers) this.foundAt = performance.now();
  }

  /**
   * Records that the headers of an artifact are about to be sent. Adds `Server-Timing` to the headers if it is enabled.
   */
  beforeHeaders(headers: ResponseHeaders, source: SourceName | undefined): void {
    this.headersAt = performance.now();
    if (this.#reporter.timing) headers['server-timing'] = this.#serverTiming(source);
  }

  /** Counts the lookup as a hit or a miss, if there was a lookup. */
  countLookup(isHit: boolean): void {
    if (!this.wasLookedUp) return;
    if (isHit) this.#reporter.counters.hits++;
    else this.#reporter.counters.misses++;
  }

  /** Counts bytes of the request body. */
  addReceived(bytes: number): void {
    this.receivedBytes += bytes;
    this.#reporter.counters.receivedBytes += bytes;
  }

  /** Records the error that ended the response early, or to which the status of the response belongs. */
  fail(error: unknown): void {
    this.error = error;
    this.complete = false;
  }

  /** Ends the record without counting a response, because the application responds, not the handler. */
  abandon(): void {
    this.restoreExchange?.();
    this.#reporter.counters.active--;
  }

  /** Ends the record: counts the response and publishes its report. */
  finish(): void {
    const { counters } = this.#reporter;
    counters.active--;
    counters.countResponse(this);
    this.#publish();
  }

  /** Returns the value of `Server-Timing` (W3C Server Timing, section 3). Durations are in milliseconds. */
  #serverTiming(source: SourceName | undefined): string {
    const { startedAt, foundAt, headersAt } = this;
    const metrics: string[] = [];
    if (source !== undefined) metrics.push(`source;desc=${source}`);
    if (foundAt > 0) metrics.push(`lookup;dur=${(foundAt - startedAt).toFixed(3)}`);
    return [...metrics, `first-byte;dur=${(headersAt - startedAt).toFixed(3)}`].join(', ');
  }

  #publish(): void {
    const {
      exchange,
      key,
      namespace,
      receivedBytes,
      status,
      failure,
      startedAt,
      foundAt,
      headersAt,
      operation,
      complete,
      error,
    } = this;
    const { method } = exchange;
    if (error !== undefined && !isClientError(error)) this.#reportFailure(error);
    if (!logResponse.enabled && !channel.hasSubscribers) return;
    const { bytes } = this.tally;
    const milliseconds = performance.now() - startedAt;
    channel.publish({
      exchange,
      sender: this.#reporter.sender,
      method,
      protocol: this.protocol?.name,
      namespace,
      operation,
      key,
      scope: this.scope,
      subject: this.subject,
      status,
      failure,
      bytes,
      receivedBytes,
      lookupMilliseconds: foundAt > 0 ? foundAt - startedAt : undefined,
      firstByteMilliseconds: headersAt > 0 ? headersAt - startedAt : undefined,
      milliseconds,
      complete,
      error,
    } satisfies ResponseReport);
    if (!logResponse.enabled) return;
    const sources = Object.entries(bytes).filter(([, count]) => count > 0);
    const body = sources.map(([source, count]) => `${source} ${count}`).join(', ') || 'no body';
    const end = complete ? '' : ', incomplete';
    const replaced = failure === undefined || failure === status ? '' : ` instead of ${failure}`;
    logResponse('%s %s %d%s (%s) %s ms%s', method, key, status, replaced, body, milliseconds.toFixed(2), end);
  }

  /** See {@link ResponseReport.subject}. */
  get subject(): string | undefined {
    return this.#view?.subject;
  }

  /** See {@link ResponseReport.scope}. */
  get scope(): string {
    if (this.#view === undefined) return DEFAULT_SCOPE;
    return this.operation === 'read' ? this.#view.foundScope : this.#view.ownScope;
  }

  /** Reports a failure that is not the fault of the client. */
  #reportFailure(error: unknown): void {
    const { key, operation, exchange, status, failure = status } = this;
    logError('%s %s: %O', exchange.method, key, error);
    const name = key === undefined ? '' : `key ${key}, `;
    // The status is 0 if the host has sent a response of its own.
    const sent = failure === 0 ? 'no response' : `status ${failure}`;
    reportEvent(FAILURES[operation], `${name}${sent}: ${messageOf(error)}`, error);
  }
}

const FAILURES: Readonly<Record<ResponseReport['operation'], string>> = {
  read: 'download failed',
  send: 'download failed',
  upload: 'upload failed',
  delete: 'deletion failed',
  answer: 'request failed',
  unsupported: 'request failed',
  none: 'request failed',
};

function isClientError(error: unknown): boolean {
  return error instanceof HotblobError && error.status < 500;
}
