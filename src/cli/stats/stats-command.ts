import { setTimeout as sleep } from 'node:timers/promises';
import { printableJson } from '../../util/printable.js';
import { type Command, CommandError, parseArguments, UsageError } from '../command.js';
import { type OperatorEndpoint, parseOperatorUrl } from '../operator-request.js';
import { createPainter, isTerminal } from '../terminal.js';
import type { StatsDocument } from './stats-document.js';
import { requestStats } from './stats-request.js';
import { formatStats, type PreviousStats } from './stats-text.js';

const DEFAULT_INTERVAL_SECONDS = 2;
const MIN_INTERVAL_SECONDS = 0.1;
const MAX_INTERVAL_SECONDS = 24 * 60 * 60;

const HELP = `Usage: hotblob stats [options] URL

Shows the statistics of the server (hotblob serve) at URL, such as http://127.0.0.1:8080: responses, bytes
sent by source, latency, memory, open files and connections.

Options:
  --watch             Refresh until SIGINT, and show the rates since the last refresh
  --interval SECONDS  Time between two refreshes; requires --watch (default: ${DEFAULT_INTERVAL_SECONDS})
  --json              Print the JSON of GET /_hotblob/stats; with --watch one line per refresh

If the server requires a token, set the environment variable HOTBLOB_TOKEN, or use the token as the password
in URL (http://user:TOKEN@host). A request times out after 10 seconds.

Exit code: 0 on success, 1 if there is no valid response, 2 if the arguments are invalid.
`;

export const statsCommand: Command = {
  name: 'stats',
  summary: 'Show the statistics of a running server',
  help: HELP,
  async run(args) {
    const { values, positionals } = parseArguments(args, {
      watch: { type: 'boolean' },
      interval: { type: 'string' },
      json: { type: 'boolean' },
    });
    const [url, ...rest] = positionals;
    if (url === undefined || rest.length > 0) throw new UsageError('expected one URL, such as http://127.0.0.1:8080');
    if (values.interval !== undefined && !values.watch) throw new UsageError('--interval requires --watch');
    const intervalSeconds = parseInterval(values.interval);
    const endpoint = parseOperatorUrl(url, process.env['HOTBLOB_TOKEN'], 'stats');
    const interruption = new AbortController();
    if (!values.watch) {
      const document = await requestStats(endpoint, interruption.signal);
      process.stdout.write(
        values.json
          ? `${printableJson(document, 2)}\n`
          : formatStats(document, undefined, createPainter(process.stdout)),
      );
      return;
    }
    const interrupt = () => interruption.abort();
    process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
    try {
      await watch(endpoint, values.json ? printLine : createScreen(), intervalSeconds * 1000, interruption.signal);
    } catch (error) {
      if (!interruption.signal.aborted) throw error;
    }
  },
};

function parseInterval(text = String(DEFAULT_INTERVAL_SECONDS)): number {
  const seconds = Number(text);
  if (text.trim() !== '' && seconds >= MIN_INTERVAL_SECONDS && seconds <= MAX_INTERVAL_SECONDS) return seconds;
  throw new UsageError(
    `--interval: expected a number of seconds from ${MIN_INTERVAL_SECONDS} to ${MAX_INTERVAL_SECONDS}, received '${text}'`,
  );
}

type Show = (document: StatsDocument, previous: PreviousStats | undefined) => void;

/**
 * Requests and shows the statistics again and again. Rejects if the first request fails, and when `signal` is aborted.
 * If a later request fails, the error is printed, so that a restart of the server does not end the command.
 */
async function watch(endpoint: OperatorEndpoint, show: Show, intervalMs: number, signal: AbortSignal): Promise<never> {
  let last: { readonly document: StatsDocument; readonly at: number } | undefined;
  for (;;) {
    try {
      const document = await requestStats(endpoint, signal);
      const at = performance.now();
      show(document, last && { document: last.document, seconds: (at - last.at) / 1000 });
      last = { document, at };
    } catch (error) {
      if (last === undefined || !(error instanceof CommandError)) throw error;
      process.stderr.write(`hotblob: ${error.message}\n`);
    }
    await sleep(intervalMs, undefined, { signal });
  }
}

function printLine(document: StatsDocument): void {
  process.stdout.write(`${printableJson(document)}\n`);
}

const CLEAR = '\u001b[2J';
const HOME = '\u001b[H';
const ERASE_LINE_END = '\u001b[K';
const ERASE_BELOW = '\u001b[J';

/**
 * Returns a function that redraws the terminal. If stdout is not a terminal, the function prints one text after
 * another.
 */
function createScreen(): Show {
  const paint = createPainter(process.stdout);
  let isFirst = true;
  return (document, previous) => {
    const text = formatStats(document, previous, paint);
    if (isTerminal(process.stdout)) {
      const lines = text.replaceAll('\n', `${ERASE_LINE_END}\n`);
      process.stdout.write(`${isFirst ? CLEAR : ''}${HOME}${lines}${ERASE_BELOW}`);
    } else {
      process.stdout.write(`${isFirst ? '' : '\n'}${text}`);
    }
    isFirst = false;
  };
}
