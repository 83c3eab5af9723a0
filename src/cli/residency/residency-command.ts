import { join } from 'node:path';
import { loadBindings } from '../../page-cache/bindings.js';
import { printable, printableJson } from '../../util/printable.js';
import { formatBytes, formatCount, formatCountOf, formatShare } from '../../util/units.js';
import { type ArtifactFile, listArtifactFiles } from '../artifact-files.js';
import { type Command, CommandError, parseArguments, UsageError } from '../command.js';
import { Progress } from '../progress.js';
import { createPainter, drawBar } from '../terminal.js';
import { ResidencyReport, type ResidencySum, type ResidencySummary } from './residency.js';

const DEFAULT_TOP = 20;
const BAR_COLUMNS = 20;

const HELP = `Usage: hotblob residency [options] DIR|FILE...

Shows how much of each artifact is in the page cache, largest artifacts first. The artifacts of a DIR are
the files below it or, if it is a segment store, the artifacts in the segments. Reads no artifact and
changes nothing, so a server may run at the same time.

Options:
  --top N  Number of artifacts to list; the others are summed up (default: ${DEFAULT_TOP})
  --json   Print JSON: sizes in bytes, null if unknown

The kernel reports resident pages only to the owner of a file and to root. Small artifacts of a segment
store are in its index and count as resident.

Exit code: 0 on success, 1 if residency is unknown for an artifact or a DIR or FILE cannot be read,
2 if the arguments are invalid.
`;

export const residencyCommand: Command = {
  name: 'residency',
  summary: 'Show how much of each artifact is in the page cache',
  help: HELP,
  async run(args) {
    const { values, positionals: paths } = parseArguments(args, { json: { type: 'boolean' }, top: { type: 'string' } });
    if (paths.length === 0) throw new UsageError('expected at least one directory or file');
    const report = new ResidencyReport(parseTop(values.top));
    const progress = new Progress();
    for (const path of paths) {
      try {
        const files = listArtifactFiles(path);
        await report.add(qualifyNames(files, path, paths, () => progress.show(() => formatProgress(report))));
      } catch (error) {
        progress.clear();
        if (!(error instanceof CommandError || (error instanceof Error && 'code' in error))) throw error;
        process.stderr.write(`hotblob: ${printable(error.message)}\n`);
        process.exitCode = 1;
      }
    }
    progress.clear();
    const summary = report.summary();
    process.stdout.write(values.json ? `${printableJson(summary, 2)}\n` : formatSummary(summary));
    const { unknown } = summary.total;
    if (unknown.artifacts === 0) return;
    process.stderr.write(
      `hotblob: residency unknown for ${formatCountOf(unknown.artifacts, 'artifact')}: ${reasonForUnknown()}\n`,
    );
    process.exitCode = 1;
  },
};

function parseTop(text = String(DEFAULT_TOP)): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new UsageError(`--top: expected an integer from 0 to 999999999, received '${text}'`);
}

/** If the user gave several paths, prefixes each name with its path. */
async function* qualifyNames(
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

function formatProgress({ artifacts }: ResidencyReport): string {
  return `${formatCountOf(artifacts, 'artifact')} checked`;
}

function reasonForUnknown(): string {
  const { libc, mapper } = loadBindings();
  if (libc === undefined && mapper === undefined) {
    return 'neither koffi nor mmap-io can be loaded (run hotblob doctor)';
  }
  return 'the kernel reports it only to the owner of a file and to root';
}

/** Formats a summary as text: one line for each artifact listed, one for the others and one for the total. */
function formatSummary({ artifacts, rest, total }: ResidencySummary): string {
  const lines = artifacts.map(({ name, bytes, residentBytes }): Line => {
    return { fraction: residentFraction(residentBytes, bytes), bytes, name: printable(name) };
  });
  if (artifacts.length > 0 && rest.artifacts > 0) {
    const name = `${formatCount(rest.artifacts)} more`;
    lines.push({ fraction: residentFractionOfSum(rest), bytes: rest.bytes, name });
  }
  const name = `${formatCountOf(total.artifacts, 'artifact')}, ${formatBytes(total.residentBytes)} in the page cache`;
  lines.push({ fraction: residentFractionOfSum(total), bytes: total.bytes, name });
  return lines.map(formatLine).join('');
}

interface Line {
  /** Resident part from 0 to 1; `null` if unknown. */
  readonly fraction: number | null;
  readonly bytes: number;
  readonly name: string;
}

function formatLine({ fraction, bytes, name }: Line): string {
  const paint = createPainter(process.stdout);
  const { full, empty } = drawBar(fraction ?? 0, BAR_COLUMNS);
  const percent = (fraction === null ? '?' : formatShare(fraction)).padStart(4);
  return `${percent} ${paint('green', full)}${paint('dim', empty)} ${formatBytes(bytes).padStart(12)}  ${name}\n`;
}

function residentFraction(residentBytes: number | null, bytes: number): number | null {
  if (residentBytes === null) return null;
  return bytes === 0 ? 1 : residentBytes / bytes;
}

/** Returns the resident fraction of the artifacts whose residency is known; `null` if it is known for none. */
function residentFractionOfSum({ artifacts, bytes, residentBytes, unknown }: ResidencySum): number | null {
  if (unknown.artifacts > 0 && unknown.artifacts === artifacts) return null;
  return residentFraction(residentBytes, bytes - unknown.bytes);
}
