import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { ExecutionContext } from 'ava';
import { EVENT_CHANNEL, type EventReport } from '../../src/util/report-event.js';

/** Collects the events that are published until the test ends. */
export function collectEvents(t: ExecutionContext): EventReport[] {
  const events: EventReport[] = [];
  const collect = (message: unknown): void => void events.push(message as EventReport); // published by reportEvent()
  subscribe(EVENT_CHANNEL, collect);
  t.teardown(() => unsubscribe(EVENT_CHANNEL, collect));
  return events;
}
