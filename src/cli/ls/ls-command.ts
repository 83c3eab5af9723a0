import { once } from 'node:events';
import type { ArtifactFilter } from '../../contract/purge.js';
import type { StoreEntry } from '../../contract/store.js';
import { keyMatcher } from '../../keys/artifact-filter.js';
import { printable, printableJson } from '../../util/printable.js';
import { formatBytes } from '../../util/units.js';
import { type ArtifactSource, FILTER_HELP, FILTER_OPTIONS, parseFilter, parseSource } from '../artifact-source.js';
import { type Command, parseArguments } from '../command.js';
import { openForReading } from '../existing-store.js';
import { parseOperatorUrl } from '../operator-request.js';
import { requestLines } from '../operator-stream.js';
import { type ListedArtifact, toListedArtifact } from '../serve/artifacts-page.js';

/** Number of characters that are written together. */
const CHUNK_CHARACTERS = 16 * 1024;
const SIZE_COLUMNS = 10;
const SCOPE_COLUMNS = 12;
const WRITER_COLUMNS = 16;

const HELP = `Usage: hotblob ls [options] DIR|URL

Lists the artifacts of the store in DIR, or of the server (hotblob serve) at URL, in the order of the store:
last use in UTC, size, scope, name of the writer, and key. What is not known is a dash. Reads no artifact and
changes nothing, so a server may use DIR at the same time.

Options:
${FILTER_HELP}  --json              Print one JSON object per line: key, scope, protocol, namespace, bytes, usedAt (milliseconds
                      since 1970) and subject (the writer); null if unknown

If the server requires a token, set the environment variable HOTBLOB_TOKEN, or use the token as the password
in URL (http://user:TOKEN@host). It must grant read access to the server's own pages.

Exit code: 0 on success, 1 if the artifacts cannot be listed, 2 if the arguments are invalid.
`;

export const lsCommand: Command = {
  name: 'ls',
  summary: 'List the artifacts of a store or of a running server',
  help: HELP,
  async run(args) {
    const { values, positionals } = parseArguments(args, { ...FILTER_OPTIONS, json: { type: 'boolean' } });
    const filter = parseFilter(values);
    const source = await parseSource(positionals);
    const artifacts = 'dir' in source ? listDirectory(source.dir, filter) : listServer(source, filter);
    const format = values.json ? (artifact: ListedArtifact) => printableJson(artifact) : formatArtifact;
    let text = '';
    for await (const artifact of artifacts) {
      text += `${format(artifact)}\n`;
      if (text.length < CHUNK_CHARACTERS) continue;
      await write(text);
      text = '';
    }
    await write(text);
  },
};

async function* listDirectory(dir: string, filter: ArtifactFilter): AsyncGenerator<ListedArtifact> {
  const matches = keyMatcher(filter);
  const store = await openForReading(dir);
  try {
    const entries: AsyncIterable<StoreEntry> = store.list({ metadata: true });
    for await (const entry of entries) if (matches(entry.key)) yield toListedArtifact(entry);
  } finally {
    await store.close();
  }
}

async function* listServer(
  { url }: Extract<ArtifactSource, { url: string }>,
  filter: ArtifactFilter,
): AsyncGenerator<ListedArtifact> {
  const endpoint = parseOperatorUrl(url, process.env['HOTBLOB_TOKEN'], 'artifacts');
  endpoint.url.search = new URLSearchParams({ ...filter } as Record<string, string>).toString();
  for await (const line of requestLines(endpoint, { method: 'GET', access: 'read' })) {
    if (line['done'] !== true) yield toArtifact(line);
  }
}

/** Returns an artifact that a server has sent. A member of another type is left out. */
function toArtifact(line: Readonly<Record<string, unknown>>): ListedArtifact {
  const textOf = (name: string): string | null => (typeof line[name] === 'string' ? line[name] : null);
  const numberOf = (name: string): number | null => (typeof line[name] === 'number' ? line[name] : null);
  return {
    key: textOf('key') ?? '',
    scope: textOf('scope') ?? '',
    protocol: textOf('protocol') ?? '',
    namespace: textOf('namespace'),
    bytes: numberOf('bytes') ?? 0,
    usedAt: numberOf('usedAt'),
    subject: textOf('subject'),
  };
}

function formatArtifact({ key, scope, bytes, usedAt, subject }: ListedArtifact): string {
  const columns = [
    formatTime(usedAt),
    formatBytes(bytes).padStart(SIZE_COLUMNS),
    printable(scope).padEnd(SCOPE_COLUMNS),
    (subject === null ? '-' : printable(subject)).padEnd(WRITER_COLUMNS),
    printable(key),
  ];
  return columns.join('  ');
}

/** Formats a time to the second, in UTC: `2026-11-30 09:15:02`. */
function formatTime(time: number | null): string {
  const date = new Date(time ?? Number.NaN);
  const text = Number.isNaN(date.getTime()) ? '-' : date.toISOString().slice(0, 19).replace('T', ' ');
  return text.padEnd(19);
}

async function write(text: string): Promise<void> {
  // If the reader closes the pipe, the process exits.
  if (!process.stdout.write(text)) await once(process.stdout, 'drain');
}
