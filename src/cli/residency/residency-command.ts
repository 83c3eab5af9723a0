import { join } from 'node:path';
import { loadBindings } from '../../page-cache/bindings.js';
import { formatBytes, formatCount, formatCountOf, formatShare } from '../../util/units.js';
import { type ArtifactFile, artifactFiles } from '../artifact-files.js';
import { type Command, CommandError, parse, UsageError } from '../command.js';
import { Progress } from '../progress.js';
import { bar, painter, printable } from '../terminal.js';
import { ResidencyReport, type ResidencySum, type ResidencySummary } from './residency.js';

const DEFAULT_TOP = 20;
const BAR_COLUMNS = 20;

const HELP = `hotblob residency [--json] [--top N] DIR|FILE...

Says how much of each artifact is in the page cache: of every file below DIR or, where DIR holds segments, of every artifact
in them; of FILE itself. The largest come first, all others are summed up. Nothing is read and nothing is changed; a server
may run meanwhile.

  --top N  show the N largest (${DEFAULT_TOP})
  --json   for programs: sizes in bytes, null where nobody can tell

The kernel tells it of one's own files only, and root of all. Small artifacts of segments are in the index, and count as
resident.

Exit code: 0, 1 when it cannot be told of some, or when a DIR or FILE cannot be looked at, 2 for arguments that it does not
take.
`;

/** `hotblob residency`. */
export const residencyCommand: Command = {
  name: 'residency',
  summary: 'says what is in the page cache of directories and files',
  help: HELP,
  async run(args) {
    const { values, positionals: paths } = parse(args, { json: { type: 'boolean' }, top: { type: 'string' } });
    if (paths.length === 0) throw new UsageError('expected directories or files');
    const report = new ResidencyReport(topOf(values.top));
    const progress = new Progress();
    for (const path of paths) {
      try {
        await report.add(named(artifactFiles(path), path, paths, () => progress.show(() => progressOf(report))));
      } catch (error) {
        progress.clear();
        if (!(error instanceof CommandError || (error instanceof Error && 'code' in error))) throw error;
        process.stderr.write(`hotblob: ${printable(error.message)}\n`);
        process.exitCode = 1;
      }
    }
    progress.clear();
    const summary = report.summary();
    process.stdout.write(values.json ? `${JSON.stringify(summary, null, 2)}\n` : describe(summary));
    const { unknown } = summary.total;
    if (unknown.artifacts === 0) return;
    process.stderr.write(
      `hotblob: of ${formatCountOf(unknown.artifacts, 'artifact')} nobody can tell: ${whyUnknown()}\n`,
    );
    process.exitCode = 1;
  },
};

function topOf(text = String(DEFAULT_TOP)): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new UsageError(`--top: expected a whole number from 0, received '${text}'`);
}

/** With the directory in front, where there are several of them. */
async function* named(
  files: AsyncIterable<ArtifactFile>,
  path: string,
  paths: readonly string[],
  onFile: () => void,
): AsyncGenerator<ArtifactFile> {
  for await (const file of files) {
    onFile();
    yield paths.length === 1 || file.name === path ? file : { ...file, name: join(path, file.name) };
  }
}

function progressOf({ artifacts }: ResidencyReport): string {
  return `${formatCountOf(artifacts, 'artifact')} looked at`;
}

function whyUnknown(): string {
  const { libc, mapper } = loadBindings();
  if (libc === undefined && mapper === undefined) return 'neither koffi nor mmap-io loads here (see hotblob doctor)';
  return 'the kernel tells it to the owner of a file, and to root';
}

/** For people, a line for each and one for all. */
function describe({ artifacts, rest, total }: ResidencySummary): string {
  const lines = artifacts.map(({ name, bytes, residentBytes }): Line => {
    return { share: shareOf(residentBytes, bytes), bytes, name: printable(name) };
  });
  if (artifacts.length > 0 && rest.artifacts > 0) {
    const name = `${formatCount(rest.artifacts)} more`;
    lines.push({ share: shareOfSum(rest), bytes: rest.bytes, name });
  }
  const name = `${formatCountOf(total.artifacts, 'artifact')}, ${formatBytes(total.residentBytes)} in the page cache`;
  lines.push({ share: shareOfSum(total), bytes: total.bytes, name });
  return lines.map(lineOf).join('');
}

interface Line {
  /** From 0 to 1; null where nobody can tell. */
  readonly share: number | null;
  readonly bytes: number;
  readonly name: string;
}

function lineOf({ share, bytes, name }: Line): string {
  const paint = painter(process.stdout);
  const { full, empty } = bar(share ?? 0, BAR_COLUMNS);
  const percent = (share === null ? '?' : formatShare(share)).padStart(4);
  return `${percent} ${paint('green', full)}${paint('dim', empty)} ${formatBytes(bytes).padStart(12)}  ${name}\n`;
}

function shareOf(residentBytes: number | null, bytes: number): number | null {
  if (residentBytes === null) return null;
  return bytes === 0 ? 1 : residentBytes / bytes;
}

function shareOfSum({ artifacts, bytes, residentBytes, unknown }: ResidencySum): number | null {
  if (unknown.artifacts > 0 && unknown.artifacts === artifacts) return null;
  return shareOf(residentBytes, bytes - unknown.bytes);
}
