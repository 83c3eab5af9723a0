import { errnoCode } from '../../contract/errors.js';
import type { EventLog, LoggedEvent } from './event-log.js';

/** Time for which a line of one process is not repeated for another one. */
const QUIET_MS = 10_000;
/** Maximum number of lines that are remembered. */
const MAX_LINES = 100;

/** What a process sends to the log of its parent. */
type Notice = { readonly line: string } | { readonly event: LoggedEvent };

/**
 * Log of several processes, in the parent. Similar events of all processes are counted together, and a line that every process
 * writes, for example about a renewed certificate, is written once.
 */
export class ProcessLog {
  readonly #events: EventLog;
  readonly #write: (line: string) => void;
  readonly #now: () => number;
  readonly #lines = new Map<string, { readonly pids: Set<number>; readonly writtenAt: number }>();

  /**
   * @param events log for the events
   * @param write writes the other lines
   * @param now returns the time of a monotonic clock in milliseconds
   */
  constructor(events: EventLog, write: (line: string) => void, now = () => performance.now()) {
    this.#events = events;
    this.#write = write;
    this.#now = now;
  }

  /** Receives what {@link noticeOf} has returned in a process. */
  receive(data: unknown, pid: number): void {
    const notice = data as Notice; // sent by the same program
    if ('event' in notice) this.#events.add(notice.event, notice.event.similar);
    else this.#addLine(notice.line, pid);
  }

  #addLine(line: string, pid: number): void {
    const earlier = this.#lines.get(line);
    const isRepeated = earlier !== undefined && this.#now() - earlier.writtenAt < QUIET_MS && !earlier.pids.has(pid);
    if (isRepeated) {
      earlier.pids.add(pid);
      return;
    }
    if (this.#lines.size >= MAX_LINES) this.#lines.clear();
    this.#lines.set(line, { pids: new Set([pid]), writtenAt: this.#now() });
    this.#write(line);
  }
}

/** Returns the message to the parent for a line of the log in a process, and for an event what the line contains. */
export function noticeOf(line: string, event?: LoggedEvent): Notice {
  if (event === undefined) return { line };
  // Not every error can be cloned. The log needs only the code.
  const { error, ...rest } = event;
  return { event: { ...rest, error: { code: errnoCode(error) } } };
}
