import { type SenderOptions, senderSettingsOf } from '../handler/options.js';
import { Sender } from '../handler/sender.js';
import type { HandlerStats } from '../handler/stats.js';

/** Sends artifacts from routes that exist. `Send` takes what a framework hands to its routes, and an artifact. */
export interface RouteSender<Send> {
  /**
   * Answers with an artifact that the host has found and authorised: a HEAD as such, every other method as a GET. Status,
   * ranges and preconditions are the artifact's, whatever status the host has set before; headers that the host has set
   * stay, but for those that frame the body.
   *
   * Resolves when the response is over, also where it was cut off after its headers; for a file that is not there, or that
   * is no regular file, with nothing answered: to false, or where the framework wants a response, to undefined.
   *
   * @throws SendError with nothing answered: `EACCES` (status 403), `ERR_HOTBLOB_OVERLOADED` (503),
   * `ERR_HOTBLOB_HEADERS_SENT`, `ERR_HOTBLOB_CLIENT_GONE`, and whatever else fails before the headers
   */
  readonly send: Send;
  /** What has been done since the start, and what is in use now. */
  stats(): HandlerStats;
  /** Closes descriptors, those in use with their last response. */
  close(): void;
}

/**
 * Makes a sender whose `send` is what `sendWith` makes of a {@link Sender}.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 */
export function routeSender<Send>(options: SenderOptions, sendWith: (sender: Sender) => Send): RouteSender<Send> {
  const sender = new Sender(senderSettingsOf(options));
  return { send: sendWith(sender), stats: () => sender.stats(), close: () => sender.close() };
}
