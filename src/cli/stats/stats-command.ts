import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, CommandError, parse, UsageError } from '../command.js';
import { isTerminal, painter } from '../terminal.js';
import type { StatsDocument } from './stats-document.js';
import { requestStats, type StatsSource, statsSource } from './stats-request.js';
import { describeStats, type Earlier } from './stats-text.js';

const DEFAULT_INTERVAL_SECONDS = 2;
const MIN_INTERVAL_SECONDS = 0.1;
const MAX_INTERVAL_SECONDS = 24 * 60 * 60;

const HELP = `hotblob stats [--watch [--interval SECONDS]] [--json] URL

Asks the server of hotblob serve at URL, such as http://127.0.0.1:8080, how it is: what it has sent and from where, how fast,
what memory allows, what it holds open. HOTBLOB_TOKEN in the environment, or the password in the URL, is the token where the
server wants one.

  --watch             ask again and again, and say what has happened since, until SIGINT
  --interval SECONDS  how long to wait in between (${DEFAULT_INTERVAL_SECONDS})
  --json              for programs: all that GET /_hotblob/stats answers; with --watch a line for each answer

The server has 10 seconds for an answer.

Exit code: 0, 1 when there is no answer, 2 for arguments that it does not take.
`;

/** `hotblob stats`. */
export const statsCommand: Command = {
  name: 'stats',
  summary: 'asks a running server how it is',
  help: HELP,
  async run(args) {
    const { values, positionals } = parse(args, {
      watch: { type: 'boolean' },
      interval: { type: 'string' },
      json: { type: 'boolean' },
    });
    const [url, ...rest] = positionals;
    if (url === undefined || rest.length > 0) throw new UsageError('expected one URL');
    if (values.interval !== undefined && !values.watch) throw new UsageError('--interval goes with --watch');
    const intervalSeconds = intervalOf(values.interval);
    const source = statsSource(url, process.env['HOTBLOB_TOKEN']);
    const interruption = new AbortController();
    if (!values.watch) {
      const document = await requestStats(source, interruption.signal);
      process.stdout.write(
        values.json
          ? `${JSON.stringify(document, null, 2)}\n`
          : describeStats(document, undefined, painter(process.stdout)),
      );
      return;
    }
    const interrupt = () => interruption.abort();
    process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
    try {
      await watch(source, values.json ? showLine : screen(), intervalSeconds * 1000, interruption.signal);
    } catch (error) {
      if (!interruption.signal.aborted) throw error;
    }
  },
};

function intervalOf(text = String(DEFAULT_INTERVAL_SECONDS)): number {
  const seconds = Number(text);
  if (text.trim() !== '' && seconds >= MIN_INTERVAL_SECONDS && seconds <= MAX_INTERVAL_SECONDS) return seconds;
  throw new UsageError(
    `--interval: expected ${MIN_INTERVAL_SECONDS} to ${MAX_INTERVAL_SECONDS} seconds, received '${text}'`,
  );
}

type Show = (document: StatsDocument, earlier: Earlier | undefined) => void;

/** Rejects when the first answer does not come, and when `signal` aborts; what goes wrong later is said, and it goes on. */
async function watch(source: StatsSource, show: Show, intervalMs: number, signal: AbortSignal): Promise<never> {
  let last: { readonly document: StatsDocument; readonly at: number } | undefined;
  for (;;) {
    try {
      const document = await requestStats(source, signal);
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

function showLine(document: StatsDocument): void {
  process.stdout.write(`${JSON.stringify(document)}\n`);
}

const CLEAR = '\u001b[2J';
const HOME = '\u001b[H';
const ERASE_LINE_END = '\u001b[K';
const ERASE_BELOW = '\u001b[J';

/** On a terminal in the place of what was there; else one behind the other, with an empty line between. */
function screen(): Show {
  const paint = painter(process.stdout);
  let isFirst = true;
  return (document, earlier) => {
    const text = describeStats(document, earlier, paint);
    if (isTerminal(process.stdout)) {
      const lines = text.replaceAll('\n', `${ERASE_LINE_END}\n`);
      process.stdout.write(`${isFirst ? CLEAR : ''}${HOME}${lines}${ERASE_BELOW}`);
    } else {
      process.stdout.write(`${isFirst ? '' : '\n'}${text}`);
    }
    isFirst = false;
  };
}
