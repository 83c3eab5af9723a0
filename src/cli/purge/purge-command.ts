import type { ArtifactFilter, PurgeProgress, PurgeResult } from '../../contract/purge.js';
import { dryRun } from '../../stores/purges.js';
import { formatBytes, formatCount, formatCountOf, parseDuration } from '../../util/units.js';
import { FILTER_HELP, FILTER_OPTIONS, parseFilter, parseSource } from '../artifact-source.js';
import { type Command, CommandError, parseArguments, UsageError } from '../command.js';
import { openForPurging, openForReading } from '../existing-store.js';
import { parseOperatorUrl } from '../operator-request.js';
import { requestLines, type StreamLine } from '../operator-stream.js';
import { Progress } from '../progress.js';
import type { PurgeRequest } from '../serve/purge-page.js';

const HELP = `Usage: hotblob purge [options] DIR|URL

Deletes the artifacts that match all options, from the store in DIR, or from the server (hotblob serve) at
URL. Clients that are downloading such an artifact get all of it. With --dry-run, deletes nothing and prints
what would be deleted.

Options:
${FILTER_HELP}  --older-than AGE    Artifacts that were last used or uploaded longer ago, such as 30d, 12h or 90m (default: all)
  --all               Delete all artifacts; required without any of the options above
  --dry-run           Delete nothing
  --json              Print JSON: artifacts, bytes, dryRun

If another process writes to the segment store in DIR, use the URL of that server. If the server requires a
token, set the environment variable HOTBLOB_TOKEN, or use the token as the password in URL
(http://user:TOKEN@host). It must grant write access to the server's own pages.

If the command is interrupted, it stops; what it has deleted stays deleted.

Exit code: 0 on success, 1 if not all artifacts that match could be deleted, 2 if the arguments are invalid.
`;

interface Purge {
  readonly filter: ArtifactFilter;
  readonly olderThanMs: number | undefined;
  readonly isDryRun: boolean;
  onProgress(progress: PurgeProgress): void;
}

export const purgeCommand: Command = {
  name: 'purge',
  summary: 'Delete artifacts by scope, namespace, protocol or last use',
  help: HELP,
  async run(args) {
    const { values, positionals } = parseArguments(args, {
      ...FILTER_OPTIONS,
      'older-than': { type: 'string' },
      all: { type: 'boolean' },
      'dry-run': { type: 'boolean' },
      json: { type: 'boolean' },
    });
    const filter = parseFilter(values);
    const olderThanMs = parseAge(values['older-than']);
    const isFiltered = olderThanMs !== undefined || Object.keys(filter).length > 0;
    if (!isFiltered && !values.all) {
      throw new UsageError(
        'expected --scope, --namespace, --protocol or --older-than; to delete all artifacts, use --all',
      );
    }
    if (isFiltered && values.all) throw new UsageError('--all: expected no other option that selects artifacts');
    const source = await parseSource(positionals);
    const progress = new Progress();
    const isDryRun = values['dry-run'] ?? false;
    const purge: Purge = {
      filter,
      olderThanMs,
      isDryRun,
      onProgress: ({ scanned, artifacts, bytes }) =>
        progress.show(() => `${formatCount(scanned)} examined, ${describe({ artifacts, bytes }, isDryRun)}`),
    };
    let result: PurgeResult;
    try {
      result = await ('dir' in source ? purgeDirectory(source.dir, purge) : purgeServer(source.url, purge));
    } finally {
      progress.clear();
    }
    const { artifacts, bytes } = result;
    process.stdout.write(
      values.json ? `${JSON.stringify({ artifacts, bytes, dryRun: isDryRun })}\n` : `${describe(result, isDryRun)}\n`,
    );
  },
};

function describe({ artifacts, bytes }: PurgeResult, isDryRun: boolean): string {
  return `${formatCountOf(artifacts, 'artifact')}, ${formatBytes(bytes)}: ${isDryRun ? 'would be deleted' : 'deleted'}`;
}

/** @throws UsageError for an invalid age */
function parseAge(text: string | undefined): number | undefined {
  const milliseconds = text === undefined ? undefined : parseDuration(text);
  if (text === undefined || milliseconds !== undefined) return milliseconds;
  throw new UsageError(`--older-than: expected a time such as 30d, 12h, 90m or 45s, received '${text}'`);
}

async function purgeDirectory(dir: string, { filter, olderThanMs, isDryRun, onProgress }: Purge): Promise<PurgeResult> {
  const usedBefore = olderThanMs === undefined ? undefined : new Date(Math.max(0, Date.now() - olderThanMs));
  const purgeFilter = { ...filter, usedBefore };
  if (isDryRun) {
    const store = await openForReading(dir);
    return dryRun(store.list(), purgeFilter, { onProgress }).finally(() => store.close());
  }
  const store = await openForPurging(dir);
  return store.purge(purgeFilter, { onProgress }).finally(() => store.close());
}

async function purgeServer(text: string, { filter, olderThanMs, isDryRun, onProgress }: Purge): Promise<PurgeResult> {
  const endpoint = parseOperatorUrl(text, process.env['HOTBLOB_TOKEN'], 'purge');
  const isFiltered = olderThanMs !== undefined || Object.keys(filter).length > 0;
  const request: PurgeRequest = { ...filter, olderThanMs, dryRun: isDryRun, ...(!isFiltered && { all: true }) };
  const body = JSON.stringify(request);
  for await (const line of requestLines(endpoint, { method: 'POST', body, access: 'write' })) {
    const progress = toProgress(line);
    if (line['done'] === true) return progress;
    onProgress(progress);
  }
  throw new CommandError('the server sent no result'); // requestLines() throws before
}

function toProgress(line: StreamLine): PurgeProgress {
  const numberOf = (name: string): number => (typeof line[name] === 'number' ? line[name] : 0);
  return { scanned: numberOf('scanned'), artifacts: numberOf('artifacts'), bytes: numberOf('bytes') };
}
