import { stat } from 'node:fs/promises';
import { type SystemMemoryPressure, systemMemoryPressure } from '../../memory/pressure.js';
import { printable, printableJson } from '../../util/printable.js';
import { formatBytes, formatCount, formatCountOf, formatShare } from '../../util/units.js';
import { type ArtifactFile, listArtifactFiles } from '../artifact-files.js';
import { type Command, CommandError, parseArguments, UsageError } from '../command.js';
import { parseSize } from '../option-values.js';
import { Progress } from '../progress.js';
import { selectMostRecent, type WarmResult, warm } from './warm.js';

const HELP = `Usage: hotblob warm [options] DIR

Reads the most recently used artifacts of DIR into the page cache, for example before the first builds
after a restart. Stops when memory pressure rises above normal.

Options:
  --max-size BYTES  Total size of the artifacts, resident ones included (default: the free memory)
  --json            Print JSON: sizes in bytes

BYTES may have the suffix K, M, G, T or KiB, MiB, GiB, TiB (powers of 1024). The free memory is 70% of the
memory limit minus the memory in use; page cache does not count as in use. Run the command in the cgroup
of the server, because page cache is charged to the cgroup that reads it.

The last use of a file is the later of its access and modification times; of an artifact in a segment
store, the time it was written. Warming does not change the access times of the user's own files.

Exit code: 0 on success, 1 if it stopped early or an artifact could not be read, 2 if the arguments are
invalid.
`;

/** Result that `--json` prints. */
interface WarmReport extends WarmResult {
  /** Maximum total size of the chosen artifacts. */
  readonly maxBytes: number;
  /** Number and total size of the most recently used artifacts that fit into `maxBytes`. */
  readonly chosen: { readonly artifacts: number; readonly bytes: number };
}

export const warmCommand: Command = {
  name: 'warm',
  summary: 'Read the most recently used artifacts into the page cache',
  help: HELP,
  async run(args) {
    const { values, positionals } = parseArguments(args, { json: { type: 'boolean' }, 'max-size': { type: 'string' } });
    const [dir, ...rest] = positionals;
    if (dir === undefined || rest.length > 0) throw new UsageError('expected one directory');
    const maxSize = parseSize('--max-size', values['max-size']);
    const memory = systemMemoryPressure();
    const maxBytes = maxSize ?? memory.roomBytes;
    const interruption = new AbortController();
    // `once`: a second signal has its default action and ends the process.
    const interrupt = () => interruption.abort();
    process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
    const progress = new Progress();
    const chosen = selectMostRecent(await listFiles(dir, interruption.signal, progress), maxBytes);
    progress.clear();
    const bytes = chosen.reduce((sum, file) => sum + file.bytes, 0);
    const result = await warm(chosen, {
      memory,
      signal: interruption.signal,
      onProgress: (doneBytes) => {
        const fraction = bytes === 0 ? 1 : doneBytes / bytes;
        progress.show(() => `${formatShare(fraction)} of ${formatBytes(bytes)}`, fraction);
      },
    });
    progress.clear();
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
    const report: WarmReport = { maxBytes, chosen: { artifacts: chosen.length, bytes }, ...result };
    process.stdout.write(values.json ? `${printableJson(report, 2)}\n` : formatReport(report));
    for (const problem of describeProblems(report, memory)) process.stderr.write(`hotblob: ${problem}\n`);
    if (result.stopped !== null || result.failed.artifacts > 0) process.exitCode = 1;
  },
};

async function listFiles(dir: string, signal: AbortSignal, progress: Progress): Promise<ArtifactFile[]> {
  if (!(await stat(dir)).isDirectory()) {
    throw new CommandError(`${dir}: expected a directory`);
  }
  const files: ArtifactFile[] = [];
  for await (const file of listArtifactFiles(dir)) {
    if (signal.aborted) break;
    files.push(file);
    progress.show(() => `${formatCountOf(files.length, 'artifact')} found`);
  }
  return files;
}

function formatReport({ chosen, read, resident }: WarmReport): string {
  const done = read.artifacts + resident.artifacts;
  return (
    `${formatCount(done)} of ${formatCountOf(chosen.artifacts, 'artifact')} (${formatBytes(chosen.bytes)}): ` +
    `${formatCount(read.artifacts)} read (${formatBytes(read.bytes)}), ` +
    `${formatCount(resident.artifacts)} already in the page cache (${formatBytes(resident.bytes)})\n`
  );
}

function describeProblems({ stopped, failed, failure }: WarmReport, memory: SystemMemoryPressure): string[] {
  const problems: string[] = [];
  if (failed.artifacts > 0 && failure !== null) {
    problems.push(`cannot read ${formatCountOf(failed.artifacts, 'artifact')}; first error: ${printable(failure)}`);
  }
  if (stopped === 'interrupted') problems.push('stopped early: interrupted by a signal');
  if (stopped === 'pressure') problems.push(`stopped early: ${describePressure(memory)}`);
  return problems;
}

function describePressure({ sensor, level, usedBytes, limitBytes }: SystemMemoryPressure): string {
  if (sensor === 'none') return 'memory pressure cannot be measured';
  return `memory pressure is ${level}, ${formatBytes(usedBytes)} of ${formatBytes(limitBytes)} in use (${sensor})`;
}
