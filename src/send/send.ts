import { HotblobError } from '../contract/errors.js';
import type { PlannedBody } from '../http/plan.js';
import type { Source, Transfer } from './source.js';

/**
 * The window loop: sends status and headers, then the bytes of `source` window by window, each when the one before has
 * left. The first window is there before the headers go, so that what fails until then can still be answered. The
 * artifact begins at `offset` of what the source counts in. Closes the source.
 *
 * Resolves when all has left; rejects when the bytes cannot be had, or when the exchange closes first.
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
        record.begin(headers, window?.source);
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
        if (connection.lose(window.length)) exchange.replaceConnection();
        throw new HotblobError('ERR_HOTBLOB_CLIENT_GONE', `the client left at ${position - start} bytes`);
      }
      window.release();
      record.add(window.source, window.length);
      if (isLast) return 'answered';
      size = connection.nextWindow(size, performance.now() - writtenAt);
      const turn = leases.turns.pass(window.length);
      if (turn !== undefined) await turn;
    }
    if (start >= end) {
      record.begin(headers, undefined);
      exchange.respond(status, headers);
    }
    exchange.end();
    return 'answered';
  } finally {
    source.close();
  }
}
