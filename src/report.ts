import diagnosticsChannel from 'node:diagnostics_channel';
import debug from 'debug';
import type { FileArtifact } from './artifact.js';
import { HotblobError } from './errors.js';
import type { Recognition } from './protocols/mounted.js';
import type { Protocol } from './protocols/protocol.js';
import { type BytesBySource, Tally, type Totals } from './send/tally.js';

/** What `diagnostics_channel` publishes on `hotblob:response` when a response is over. */
export interface ResponseReport {
  /** Of the request. */
  readonly method: string;
  /** Undefined for what the host sent by itself, and for a key that is none. */
  readonly key: string | undefined;
  /** What was answered; 0 where the response ended before one was chosen. */
  readonly status: number;
  /** Bytes of the body that have left the process, by source. */
  readonly bytes: Readonly<BytesBySource>;
  /** From the request to the end of the response. */
  readonly milliseconds: number;
  /** Whether all of it has been handed to the kernel. */
  readonly complete: boolean;
  /** What ended it early, or made it an error. */
  readonly error: unknown;
}

const channel = diagnosticsChannel.channel('hotblob:response');
const logResponse = debug('hotblob:response');
const logError = debug('hotblob:error');

/** One response, from the request on. */
export class ResponseRecord extends Tally implements Recognition {
  readonly startedAt = performance.now();
  readonly method: string;
  key: string | undefined;
  protocol: Protocol | undefined;
  /** What was found, but gone when it was to be opened. */
  vanished: FileArtifact | undefined;
  status = 0;
  complete = true;
  error: unknown;

  constructor(method: string, totals: Totals) {
    super(totals);
    this.method = method;
  }
}

/** Tells those who listen that a response is over. Costs next to nothing when nobody does. */
export function report(record: ResponseRecord): void {
  const { method, key, status, bytes, complete, error } = record;
  if (error !== undefined && logError.enabled && !isTheClients(error)) logError('%s %s: %O', method, key, error);
  if (!logResponse.enabled && !channel.hasSubscribers) return;
  const milliseconds = performance.now() - record.startedAt;
  channel.publish({ method, key, status, bytes, milliseconds, complete, error } satisfies ResponseReport);
  const sources = Object.entries(bytes).filter(([, count]) => count > 0);
  const body = sources.map(([source, count]) => `${source} ${count}`).join(', ') || 'no body';
  logResponse('%s %s %d (%s) %s ms%s', method, key, status, body, milliseconds.toFixed(2), complete ? '' : ', cut off');
}

function isTheClients(error: unknown): boolean {
  return error instanceof HotblobError && error.status < 500;
}
