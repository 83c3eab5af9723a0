import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { RESPONSE_CHANNEL, type ResponseReport } from '../handler/response-record.js';
import { mainSource, type SourceName } from '../send/tally.js';
import { TwoGenerationMap } from '../util/two-generation-map.js';

/** Keys in a generation. Keys that were requested longest ago are forgotten first. */
const GENERATION_SIZE = 2048;
/** Responses that are remembered of each. */
const MAX_RESPONSES = 10;

/** A response with an artifact, as the page shows it. */
export interface PastResponse {
  /** When it was over, in milliseconds since 1970. */
  readonly time: number;
  readonly method: string;
  readonly status: number;
  /** Bytes of the body that have left. */
  readonly bytes: number;
  /** Where most of them came from; null where there were none. */
  readonly source: SourceName | null;
  readonly milliseconds: number;
  readonly firstByteMilliseconds: number | null;
  readonly complete: boolean;
}

interface Downloaded {
  count: number;
  readonly responses: PastResponse[];
  /** Where the next response goes: onto the oldest, where there are as many as are remembered. */
  next: number;
}

/** Who was asked for, and what came of it: of one handler, from the moment on in which somebody looks. */
export class Downloads {
  readonly #sender: object;
  readonly #keys = new TwoGenerationMap<string, Downloaded>(GENERATION_SIZE);
  readonly #onResponse = (message: unknown): void => this.#add(message as ResponseReport); // what `report()` publishes
  #isListening = false;

  constructor(sender: object) {
    this.#sender = sender;
  }

  /** Begins, where it has not. Requests pay for it from now on. */
  listen(): void {
    if (!this.#isListening) subscribe(RESPONSE_CHANNEL, this.#onResponse);
    this.#isListening = true;
  }

  close(): void {
    if (this.#isListening) unsubscribe(RESPONSE_CHANNEL, this.#onResponse);
    this.#isListening = false;
    this.#keys.clear();
  }

  /** How often an artifact was sent, as far as is remembered. */
  countOf(key: string): number {
    return this.#keys.get(key)?.count ?? 0;
  }

  /** The last responses with an artifact; the latest comes first. */
  responsesOf(key: string): readonly PastResponse[] {
    const downloaded = this.#keys.get(key);
    if (downloaded === undefined) return [];
    const { responses, next } = downloaded;
    return [...responses.slice(next), ...responses.slice(0, next)].reverse();
  }

  #add(report: ResponseReport): void {
    const { sender, key, operation, status, bytes, method, complete } = report;
    if (sender !== this.#sender || operation !== 'read' || key === undefined || status === 404) return;
    const downloaded = this.#keys.get(key) ?? { count: 0, responses: [], next: 0 };
    this.#keys.set(key, downloaded);
    const source = mainSource(bytes);
    if (source !== undefined) downloaded.count++;
    downloaded.responses[downloaded.next] = {
      time: Date.now(),
      method,
      status,
      bytes: bytes.bytes + bytes.mapped + bytes.copied + bytes.read + bytes.stream,
      source: source ?? null,
      milliseconds: report.milliseconds,
      firstByteMilliseconds: report.firstByteMilliseconds ?? null,
      complete,
    };
    downloaded.next = (downloaded.next + 1) % MAX_RESPONSES;
  }
}
