import type { Readable } from 'node:stream';
import { HotblobError } from '../../contract/errors.js';
import { clientGoneError, type Exchange } from '../../contract/exchange.js';
import type { PurgeFilter, PurgeProgress, PurgeResult } from '../../contract/purge.js';
import type { Store } from '../../contract/store.js';
import { answerError, answerReply } from '../../handler/reply.js';
import { jsonReply } from '../../protocols/protocol.js';
import { FILTER_MEMBERS, filterIn } from './filter-members.js';
import { NdjsonStream } from './ndjson-stream.js';

/** Interval at which the client gets the progress, in milliseconds. */
const PROGRESS_INTERVAL_MS = 500;
/** Maximum size of a request body, far above that of a filter. */
const MAX_BODY_BYTES = 16 * 1024;
const NOTHING: PurgeProgress = { scanned: 0, artifacts: 0, bytes: 0 };

/** Body of `POST purge`. */
export interface PurgeRequest {
  readonly scope?: string | undefined;
  readonly namespace?: string | undefined;
  readonly protocol?: string | undefined;
  /** Time since the last use, in milliseconds. */
  readonly olderThanMs?: number | undefined;
  /** Required if no other member restricts the purge. */
  readonly all?: boolean | undefined;
  readonly dryRun?: boolean | undefined;
}

/** Last line of the response. */
export interface PurgeEnd extends PurgeResult {
  readonly done: true;
  readonly dryRun: boolean;
}

/** Responds to `POST purge`: purges the store, with a line of progress twice a second, and the result at the end. */
export async function sendPurge(exchange: Exchange, store: Pick<Store, 'purge'>, closed: AbortSignal): Promise<void> {
  if (store.purge === undefined) {
    answerError(
      exchange,
      405,
      {},
      undefined,
      new HotblobError('ERR_HOTBLOB_READ_ONLY', 'purge: the store is read-only'),
    );
    return;
  }
  if (Number(exchange.headers['content-length'] ?? 0) > MAX_BODY_BYTES) {
    answerError(exchange, 413);
    return;
  }
  const text = await readText(exchange.body);
  const request = parseRequest(text);
  if (typeof request === 'string') {
    answerReply(exchange, jsonReply(400, { message: `body: ${request}` }));
    return;
  }
  const { filter, dryRun } = request;
  const gone = new AbortController();
  const removeListener = exchange.onClose(() => gone.abort(clientGoneError()));
  const stream = new NdjsonStream(exchange);
  let latest = NOTHING;
  const timer = setInterval(() => {
    if (!stream.isWriting) void stream.write(`${JSON.stringify(latest)}\n`);
  }, PROGRESS_INTERVAL_MS);
  try {
    const result = await store.purge(filter, {
      dryRun,
      signal: AbortSignal.any([gone.signal, closed]),
      onProgress: (progress) => {
        latest = progress;
      },
    });
    clearInterval(timer);
    await stream.end({ done: true, ...result, dryRun } satisfies PurgeEnd);
  } catch (error) {
    clearInterval(timer);
    if (!exchange.headersSent && !exchange.closed) throw error;
    await stream.fail(error);
  } finally {
    removeListener();
  }
}

/** @throws HotblobError `ERR_HOTBLOB_TOO_LARGE` */
async function readText(body: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  // The response to a body that is too long needs the connection.
  for await (const chunk of body.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    bytes += chunk.byteLength;
    if (bytes > MAX_BODY_BYTES) throw new HotblobError('ERR_HOTBLOB_TOO_LARGE', 'purge: the request body is too long');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

/** Returns the filter in a request body, or a sentence about what is not valid. */
function parseRequest(text: string): { readonly filter: PurgeFilter; readonly dryRun: boolean } | string {
  const value = parseJson(text);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return 'expected a JSON object, such as {"scope":"pr/*","olderThanMs":2592000000,"dryRun":true}';
  }
  const members = value as Readonly<Record<string, unknown>>;
  const filter = filterIn(members, ['olderThanMs', 'all', 'dryRun']);
  if (typeof filter === 'string') return filter;
  const { olderThanMs, all = false, dryRun = false } = members;
  for (const [name, flag] of Object.entries({ all, dryRun })) {
    if (typeof flag !== 'boolean') return `${name}: expected true or false, received ${JSON.stringify(flag)}`;
  }
  if (olderThanMs !== undefined && !(Number.isSafeInteger(olderThanMs) && Number(olderThanMs) >= 0)) {
    return `olderThanMs: expected a whole number of milliseconds, 0 or more, received ${JSON.stringify(olderThanMs)}`;
  }
  if (olderThanMs === undefined && Object.keys(filter).length === 0 && all !== true) {
    return `expected one of ${FILTER_MEMBERS.join(', ')}, olderThanMs, or "all": true to purge all artifacts`;
  }
  const usedBefore = olderThanMs === undefined ? undefined : new Date(Math.max(0, Date.now() - Number(olderThanMs)));
  return { filter: { ...filter, ...(usedBefore !== undefined && { usedBefore }) }, dryRun: dryRun === true };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
