import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { RESPONSE_CHANNEL, type ResponseReport } from '../handler/response-record.js';
import { scopePrefix } from '../keys/scope.js';
import { mainSource, type SourceName, totalBytes } from '../send/tally.js';
import { TwoGenerationMap } from '../util/two-generation-map.js';

/** Number of keys in a generation. Keys that were requested longest ago are dropped first. */
const GENERATION_SIZE = 2048;
/** Number of responses that are kept for each key. */
const MAX_RESPONSES = 10;

/** Response for an artifact, in the form that the page shows. */
export interface PastResponse {
  /** Time at which the response ended, in milliseconds since the Unix epoch. */
  readonly time: number;
  readonly method: string;
  readonly status: number;
  /** Number of bytes of the artifact that were sent, or received for an upload. */
  readonly bytes: number;
  /** Source from which most bytes came; `null` if no bytes were sent. */
  readonly source: SourceName | null;
  readonly milliseconds: number;
  readonly firstByteMilliseconds: number | null;
  readonly complete: boolean;
}

interface KeyHistory {
  count: number;
  /** Ring buffer of the last responses. */
  readonly responses: PastResponse[];
  /** Index of the next response. Once the buffer is full, it is the index of the oldest one. */
  next: number;
}

/**
 * Number of downloads and last responses of each key in the store. Records the responses of one handler after `listen` has been
 * called.
 */
export class Downloads {
  readonly #sender: object;
  readonly #keys = new TwoGenerationMap<string, KeyHistory>(GENERATION_SIZE);
  readonly #onResponse = (message: unknown): void => this.#add(message as ResponseReport); // published by report()
  #isListening = false;

  constructor(sender: object) {
    this.#sender = sender;
  }

  /** Starts recording. Before this call, requests have no overhead. */
  listen(): void {
    if (!this.#isListening) subscribe(RESPONSE_CHANNEL, this.#onResponse);
    this.#isListening = true;
  }

  /** Stops recording and drops all records. */
  close(): void {
    if (this.#isListening) unsubscribe(RESPONSE_CHANNEL, this.#onResponse);
    this.#isListening = false;
    this.#keys.clear();
  }

  /** Returns the number of recorded downloads of an artifact. */
  countOf(key: string): number {
    return this.#keys.get(key)?.count ?? 0;
  }

  /** Returns the last responses for an artifact, latest first. */
  responsesOf(key: string): readonly PastResponse[] {
    const history = this.#keys.get(key);
    if (history === undefined) return [];
    const { responses, next } = history;
    return [...responses.slice(next), ...responses.slice(0, next)].reverse();
  }

  #add(report: ResponseReport): void {
    const { sender, operation, status, bytes, method, complete } = report;
    if (sender !== this.#sender || report.key === undefined || status === 404) return;
    if (operation !== 'read' && operation !== 'upload') return;
    const key = scopePrefix(report.scope) + report.key;
    const history = this.#keys.get(key) ?? { count: 0, responses: [], next: 0 };
    this.#keys.set(key, history);
    const source = mainSource(bytes);
    if (source !== undefined) history.count++;
    history.responses[history.next] = {
      time: Date.now(),
      method,
      status,
      bytes: operation === 'upload' ? report.receivedBytes : totalBytes(bytes),
      source: source ?? null,
      milliseconds: report.milliseconds,
      firstByteMilliseconds: report.firstByteMilliseconds ?? null,
      complete,
    };
    history.next = (history.next + 1) % MAX_RESPONSES;
  }
}
