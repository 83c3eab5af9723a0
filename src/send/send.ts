import { HotblobError } from '../contract/errors.js';
import type { PlannedBody } from '../http/plan.js';
import { BytesSource } from './bytes-source.js';
import type { Source, Transfer } from './source.js';

/** Size up to which a body in memory is sent with one write even to a slow client. */
const SMALL_BYTES = 64 * 1024;

/**
 * Sends status, headers and the bytes of `source`. Writes one window at a time, after the previous one has left the
 * process. The first window is prepared before the headers are sent. If it cannot be read, the handler can still
 * respond with an error. Closes the source at the end.
 *
 * @param offset position at which the artifact begins in the source
 * @throws HotblobError `ERR_HOTBLOB_CLIENT_GONE` if the exchange is closed before the last byte was sent
 * @throws the error of the source if the bytes cannot be read
 */
export async function send(
  transfer: Transfer,
  source: Source,
  { status, headers, range }: PlannedBody,
  offset: number,
): Promise<'answered'> {
  const { exchange, connection, leases, record } = transfer;
  const start = offset + (range?.start ?? 0);
  const end = range === undefined ? Number.POSITIVE_INFINITY : offset + range.end;
  try {
    let size = connection.firstWindow;
    let position = start;
    while (position < end) {
      const upcoming = source.next(position, Math.min(size, end - position));
      const window = upcoming instanceof Promise ? await upcoming : upcoming;
      if (position === start) {
        record.beforeHeaders(headers, window?.source);
        try {
          exchange.respond(status, headers);
        } catch (error) {
          window?.release();
          throw error;
        }
      }
      if (window === undefined) break;
      position += window.length;
      const isLast = position >= end;
      const writtenAt = isLast ? 0 : performance.now();
      const release = (): void => window.release();
      let isSent: boolean;
      try {
        isSent = await exchange.write(window.chunks, isLast);
      } catch (error) {
        // A write that middleware has replaced can throw.
        exchange.retire(release);
        throw error;
      }
      if (!isSent) throw clientGone(transfer, window.length, position - start, release);
      window.release();
      record.tally.addWindow(window.source, window.length);
      if (isLast) return 'answered';
      size = connection.nextWindow(size, performance.now() - writtenAt);
      const nextIteration = leases.loopBudget.spend(window.length);
      if (nextIteration !== undefined) await nextIteration;
    }
    if (start >= end) {
      record.beforeHeaders(headers, undefined);
      exchange.respond(status, headers);
    }
    exchange.end();
    return 'answered';
  } finally {
    source.close();
  }
}

/**
 * Sends a body that is in memory. If the connection has room for it, this takes one write, without a source and with few
 * promises: for small artifacts, these cost as much as the rest of the response.
 *
 * @param lease released once, when the response has ended
 */
export function sendBytes(
  transfer: Transfer,
  bytes: Uint8Array,
  planned: PlannedBody,
  lease?: { release(): void },
): Promise<'answered'> {
  const { exchange, connection, leases, record } = transfer;
  const { status, headers, range } = planned;
  const isWhole = range === undefined || range.end - range.start === bytes.byteLength;
  const length = range === undefined ? bytes.byteLength : range.end - range.start;
  const maxBytes = Math.max(SMALL_BYTES, connection.firstWindow);
  const fits = length > 0 && length <= maxBytes && connection.availableBytes(length) >= length;
  if (!fits || !leases.countCopy(exchange, connection, length)) {
    return send(transfer, new BytesSource(transfer, bytes, lease), planned, 0);
  }
  const sharedBytes = connection.reserve(length);
  const release = (): void => {
    connection.release(length, sharedBytes);
    leases.uncountCopy(exchange, connection, length);
    lease?.release();
  };
  const fail = (error: unknown): never => {
    exchange.retire(release);
    throw error;
  };
  try {
    record.beforeHeaders(headers, 'bytes');
    exchange.respond(status, headers);
    const chunk = isWhole ? bytes : bytes.subarray(range.start, range.end);
    return exchange.write([chunk], true).then((isSent) => {
      if (!isSent) throw clientGone(transfer, length, length, release);
      release();
      record.tally.addWindow('bytes', length);
      return 'answered';
    }, fail);
  } catch (error) {
    // Headers can be invalid, and a write that middleware has replaced can throw.
    return fail(error);
  }
}

/** Ends the use of a window that was not sent. Returns the error of the response. */
function clientGone(
  { exchange, connection }: Transfer,
  windowBytes: number,
  bytes: number,
  release: () => void,
): HotblobError {
  exchange.retire(release);
  if (connection.addResetBytes(windowBytes)) exchange.replaceConnection();
  return new HotblobError('ERR_HOTBLOB_CLIENT_GONE', `the client disconnected after ${bytes} bytes`);
}
