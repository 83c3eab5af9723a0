import { HotblobError } from '../contract/errors.js';
import type { PlannedBody } from '../http/plan.js';
import type { Source, Transfer } from './source.js';

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
  { exchange, connection, leases, record }: Transfer,
  source: Source,
  { status, headers, range }: PlannedBody,
  offset: number,
): Promise<'answered'> {
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
      if (!(await exchange.write(window.chunks, isLast))) {
        exchange.retire(() => window.release());
        if (connection.addResetBytes(window.length)) exchange.replaceConnection();
        throw new HotblobError('ERR_HOTBLOB_CLIENT_GONE', `the client disconnected after ${position - start} bytes`);
      }
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
