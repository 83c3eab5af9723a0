import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { RESPONSE_CHANNEL, type ResponseReport } from '../report.js';
import { mainSource, type SourceName } from '../send/tally.js';

/** Keys that are remembered; those that were asked for longest ago are forgotten first. */
const MAX_KEYS = 4096;
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
  /** The latest comes last. */
  readonly responses: PastResponse[];
}

/** Who was asked for, and what came of it: of one handler, from the moment on in which somebody looks. */
export class Downloads {
  readonly #sender: object;
  /** The one asked for longest ago comes first. */
  readonly #keys = new Map<string, Downloaded>();
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
    return this.#keys.get(key)?.responses.toReversed() ?? [];
  }

  #add(report: ResponseReport): void {
    const { sender, key, operation, status, bytes, method, complete } = report;
    if (sender !== this.#sender || operation !== 'read' || key === undefined || status === 404) return;
    const downloaded = this.#keys.get(key) ?? { count: 0, responses: [] };
    this.#keys.delete(key);
    this.#keys.set(key, downloaded);
    const source = mainSource(bytes);
    if (source !== undefined) downloaded.count++;
    downloaded.responses.push({
      time: Date.now(),
      method,
      status,
      bytes: bytes.bytes + bytes.mapped + bytes.copied + bytes.read + bytes.stream,
      source: source ?? null,
      milliseconds: report.milliseconds,
      firstByteMilliseconds: report.firstByteMilliseconds ?? null,
      complete,
    });
    if (downloaded.responses.length > MAX_RESPONSES) downloaded.responses.shift();
    if (this.#keys.size <= MAX_KEYS) return;
    for (const oldest of this.#keys.keys()) {
      this.#keys.delete(oldest);
      break;
    }
  }
}
