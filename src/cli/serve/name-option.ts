import { messageOf } from '../../util/report-event.js';
import { CommandError } from '../command.js';

/** Names on the command line of the options of stores. */
const OPTION_NAMES: Readonly<Record<string, string>> = {
  dir: '--dir',
  queueDir: '--dir',
  maxBytes: '--max-size',
  retain: '--retain',
  spoolDir: '--spool-dir',
  maxSpoolBytes: '--max-spool',
  url: '--upstream',
  token: 'HOTBLOB_UPSTREAM_TOKEN',
};

/** Replaces the name of an option of a store in an error message by that of the command line. */
export function nameOption(error: unknown): unknown {
  const [, name = '', rest = ''] = /^(\w+)(: [\s\S]*)$/.exec(messageOf(error)) ?? [];
  const option = Object.hasOwn(OPTION_NAMES, name) ? OPTION_NAMES[name] : undefined;
  return option === undefined ? error : new CommandError(option + rest);
}
