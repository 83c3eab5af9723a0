import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { errnoCode } from '../../contract/errors.js';
import { printable } from '../../util/printable.js';
import { EVENT_CHANNEL, type EventReport } from '../../util/report-event.js';
import { formatCount } from '../../util/units.js';

/** Time after a line in which similar events are counted instead of written. */
const QUIET_MS = 10_000;
/** Maximum number of groups of similar events that are remembered. */
const MAX_GROUPS = 100;

/** Event that {@link EventLog} writes, and the number of similar ones before it. */
export interface LoggedEvent extends EventReport {
  readonly similar: number;
}

interface Group {
  writtenAt: number;
  suppressed: number;
}

/**
 * Writes the events of stores and handlers, and the warnings of the process, one line each. Events with the same name and error
 * code are similar. After an event is written, similar events of the next ten seconds are only counted. The next similar event
 * is written with this count.
 */
export class EventLog {
  readonly #write: (line: string, event?: LoggedEvent) => void;
  readonly #now: () => number;
  readonly #groups = new Map<string, Group>();

  /**
   * @param write writes a line. For an event, it also receives what the line contains
   * @param now returns the time of a monotonic clock in milliseconds
   */
  constructor(write: (line: string, event?: LoggedEvent) => void, now = () => performance.now()) {
    this.#write = write;
    this.#now = now;
  }

  /** Starts to write. The warnings of the process are then no longer written by Node. */
  open(): void {
    subscribe(EVENT_CHANNEL, this.#onEvent);
    process.removeAllListeners('warning').on('warning', this.#onWarning);
  }

  close(): void {
    unsubscribe(EVENT_CHANNEL, this.#onEvent);
    process.off('warning', this.#onWarning);
  }

  /**
   * Writes an event, or counts it.
   *
   * @param similarBefore number of similar earlier events that another log has counted
   */
  add({ event, details, error }: EventReport, similarBefore = 0): void {
    const name = `${event} ${errnoCode(error) ?? ''}`;
    const now = this.#now();
    const group = this.#groups.get(name);
    if (group !== undefined && now - group.writtenAt < QUIET_MS) {
      group.suppressed += 1 + similarBefore;
      return;
    }
    const similar = (group?.suppressed ?? 0) + similarBefore;
    if (this.#groups.size >= MAX_GROUPS) this.#groups.clear();
    this.#groups.set(name, { writtenAt: now, suppressed: 0 });
    const suffix = similar === 0 ? '' : ` (and ${formatCount(similar)} similar before)`;
    this.#write(`${event}: ${details}${suffix}`, { event, details, error, similar });
  }

  // An event is published by reportEvent().
  readonly #onEvent = (message: unknown): void => this.add(message as EventReport);

  readonly #onWarning = ({ name, message }: Error): void =>
    this.#write(name === 'HotblobWarning' ? message : printable(`${name}: ${message}`));
}
