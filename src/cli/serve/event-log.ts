import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { errnoCode } from '../../contract/errors.js';
import { printable } from '../../util/printable.js';
import { EVENT_CHANNEL, type EventReport } from '../../util/report-event.js';
import { formatCount } from '../../util/units.js';

/** Time after a line in which similar events are counted instead of written. */
const QUIET_MS = 10_000;
/** Maximum number of groups of similar events that are remembered. */
const MAX_GROUPS = 100;

interface Group {
  writtenAt: number;
  suppressed: number;
}

/**
 * Writes the events of stores and handlers, and the warnings of the process, one line each. Events of the same name and error
 * code are similar: after one of them, those of the next ten seconds are only counted, and the count is written with the first
 * one after that.
 */
export class EventLog {
  readonly #write: (line: string) => void;
  readonly #now: () => number;
  readonly #groups = new Map<string, Group>();

  /** @param now returns the time of a monotonic clock in milliseconds */
  constructor(write: (line: string) => void, now = () => performance.now()) {
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

  /** Writes an event, or counts it. */
  add({ event, details, error }: EventReport): void {
    const name = `${event} ${errnoCode(error) ?? ''}`;
    const now = this.#now();
    const group = this.#groups.get(name);
    if (group !== undefined && now - group.writtenAt < QUIET_MS) {
      group.suppressed++;
      return;
    }
    const suppressed = group?.suppressed ?? 0;
    if (this.#groups.size >= MAX_GROUPS) this.#groups.clear();
    this.#groups.set(name, { writtenAt: now, suppressed: 0 });
    this.#write(`${event}: ${details}${suppressed === 0 ? '' : ` (and ${formatCount(suppressed)} similar before)`}`);
  }

  // An event is published by reportEvent().
  readonly #onEvent = (message: unknown): void => this.add(message as EventReport);

  readonly #onWarning = ({ name, message }: Error): void =>
    this.#write(name === 'HotblobWarning' ? message : printable(`${name}: ${message}`));
}
