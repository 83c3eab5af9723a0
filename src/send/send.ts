import type { Source, Transfer } from './source.js';

/**
 * The window loop: asks `source` for the bytes from `start` to `end` (Infinity where the source alone knows its end),
 * window by window, and writes each when the one before has left. `respond` sends the headers; the first window is there
 * by then, so that what fails before can still be answered. Closes the source.
 *
 * Resolves to whether all bytes have left the process; rejects when they cannot be had.
 */
export async function send(
  { exchange, connection, tally }: Transfer,
  source: Source,
  start: number,
  end: number,
  respond: () => void,
): Promise<boolean> {
  try {
    let size = connection.firstWindow;
    let position = start;
    while (position < end) {
      const upcoming = source.next(position, Math.min(size, end - position));
      const window = upcoming instanceof Promise ? await upcoming : upcoming;
      if (position === start) {
        try {
          respond();
        } catch (error) {
          window?.release();
          throw error;
        }
      }
      if (window === undefined) break;
      position += window.length;
      const writtenAt = performance.now();
      if (!(await exchange.write(window.chunks, position >= end))) {
        exchange.retire(() => window.release());
        return false;
      }
      window.release();
      tally.sent(window.source, window.length);
      if (position >= end) return true;
      size = connection.nextWindow(size, performance.now() - writtenAt);
    }
    if (start >= end) respond();
    exchange.end();
    return true;
  } finally {
    source.close();
  }
}
