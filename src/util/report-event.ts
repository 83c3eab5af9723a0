import diagnosticsChannel from 'node:diagnostics_channel';
import { printable } from './printable.js';

/**
 * Message that `diagnostics_channel` publishes on `hotblob:event` when something needs the attention of an operator. The page
 * docs/operating.md lists the events.
 */
export interface EventReport {
  /** Name of the event, such as `upload failed`. */
  readonly event: string;
  /** Fields of the event: one printable line without secrets. */
  readonly details: string;
  /** Error that caused the event; undefined if there is none. */
  readonly error: unknown;
}

/** Name of the channel on which {@link EventReport}s are published. */
export const EVENT_CHANNEL = 'hotblob:event';

const channel = diagnosticsChannel.channel(EVENT_CHANNEL);

/**
 * Publishes an event. Use it for failures that no caller receives as an error, and for problems that need an operator although
 * the request succeeds.
 *
 * @param details is made printable. It must not contain a token
 */
export function reportEvent(event: string, details: string, error?: unknown): void {
  if (channel.hasSubscribers) channel.publish({ event, details: printable(details), error } satisfies EventReport);
}

/** Returns the message of a thrown value, without its stack. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
